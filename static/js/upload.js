// The progress of an upload, and a way to stop it. The form works without: see templates/messages/_upload.html.

const announcer = document.getElementById("announce");
const UNITS = ["bytes", "KB", "MB", "GB"];

function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  const file = form.querySelector("input[type=file]");
  const problem = form.querySelector("[data-upload-problem]");
  const progress = form.querySelector("[data-upload-progress]");
  const bar = progress.querySelector("progress");
  const words = progress.querySelector("[data-upload-words]");
  const start = form.querySelector("[data-upload-start]");
  const stop = form.querySelector("[data-upload-stop]");
  let request = null;
  let whole = false;

  function refuse(sentence) {
    request = null;
    progress.hidden = stop.hidden = true;
    start.disabled = false;
    problem.textContent = sentence;
    problem.hidden = !sentence;
    if (sentence) file.focus();
  }

  function tell(done, total) {
    const percent = total ? Math.floor((done / total) * 100) : 0;
    // A quarter at a time: a voice that counts every hundredth helps nobody.
    if (Math.floor(percent / 25) > Math.floor(bar.value / 25)) announcer.textContent = `${percent}% uploaded`;
    bar.value = percent;
    // From here on it may be kept whatever happens to the line.
    whole = percent >= 100;
    stop.hidden = whole;
    words.textContent = !whole ? `${percent}%, ${size(done)} of ${size(total)}` : "All of it is here. The portal encrypts and keeps it…";
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (request) return;
    const chosen = file.files[0];
    if (!chosen) return refuse("Choose the file that is to be sent.");
    if (!chosen.size) return refuse("The file is empty. MESH takes no message without a body.");
    if (chosen.size > Number(form.dataset.largest)) return refuse(form.dataset.tooLarge);
    problem.hidden = true;
    bar.value = 0;
    progress.hidden = stop.hidden = false;
    start.disabled = true;
    tell(0, chosen.size);
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (now) => tell(Math.min(now.loaded, chosen.size), chosen.size));
    request.addEventListener("load", () => {
      const said = request.response;
      if (said?.next) return window.location.assign(said.next);
      refuse(said?.sentence ?? "The portal did not take the file. You may have been signed out: reload the page and try again.");
    });
    request.addEventListener("error", () => {
      if (whole) refuse("The connection broke before the portal answered. Reload the page to see whether the file is there.");
      else refuse("The connection broke, or the portal is busy. Nothing of the file was kept: add it again.");
    });
    request.addEventListener("abort", () => {
      refuse("");
      announcer.textContent = "The upload was stopped. Nothing of the file was kept.";
      start.focus();
    });
    request.send(new FormData(form));
    stop.focus();
  });
  stop.addEventListener("click", () => request?.abort());
}

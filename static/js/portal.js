// What scripts add to pages that work without them. No inline script anywhere: everything hangs on data attributes.

const announcer = document.getElementById("announce");
const root = document.documentElement;

function announce(text) {
  const words = text.replace(/\s+/g, " ").trim();
  if (!announcer || !words) return;
  // Emptied first: the same words twice in a row would not be spoken a second time.
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = words));
}

// --- NHS components --------------------------------------------------------------------------------------------------
document.body.classList.add("js-enabled", "nhsuk-frontend-supported");
const nhsuk = document.querySelector("meta[name='nhsuk-frontend']")?.content;
const components = nhsuk ? import(nhsuk) : Promise.resolve(null);
components.then((library) => library?.initAll());

// --- Things that only make sense with scripts --------------------------------------------------------------------------
function enhance(scope) {
  if (navigator.clipboard) for (const button of scope.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  for (const all of scope.querySelectorAll(".portal-selection__all[hidden]")) all.hidden = false;
  for (const form of scope.querySelectorAll("form[data-selection]")) tellSelection(form);
  // A table that is laid out as cards loses its meaning for assistive technology unless it is said again.
  for (const table of scope.querySelectorAll("table.portal-table--cards:not([role])")) {
    table.setAttribute("role", "table");
    for (const group of table.querySelectorAll("thead, tbody")) group.setAttribute("role", "rowgroup");
    for (const row of table.rows) row.setAttribute("role", "row");
    for (const cell of table.querySelectorAll("td")) cell.setAttribute("role", "cell");
    for (const cell of table.querySelectorAll("thead th")) cell.setAttribute("role", "columnheader");
    for (const cell of table.querySelectorAll("tbody th")) cell.setAttribute("role", "rowheader");
  }
}
enhance(document);

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("is-copied");
    announce(button.dataset.copy.includes("\n") ? "Copied" : `Copied ${button.dataset.copy}`);
    // A button of words says so in words, at the width that it had.
    const words = button.querySelector("svg") ? "" : button.textContent;
    if (words) {
      button.style.minWidth = `${button.offsetWidth}px`;
      button.textContent = "Copied";
    }
    setTimeout(() => {
      button.classList.remove("is-copied");
      if (words) button.textContent = words;
    }, 1500);
  } catch {
    announce("The browser did not allow copying. Select the text and copy it.");
  }
});

// --- Rows that are ticked -------------------------------------------------------------------------------------------------
function tellSelection(form) {
  const noun = form.dataset.selection || "message";
  const boxes = [...form.querySelectorAll(`input[name=${noun}]`)];
  const number = boxes.filter((box) => box.checked).length;
  const all = form.querySelector("[data-select-all]");
  all.checked = number > 0 && number === boxes.length;
  all.indeterminate = number > 0 && number < boxes.length;
  const said = form.querySelector("[data-selected]");
  said.dataset.none ??= said.textContent;
  said.textContent = number ? `${number} ${noun}${number === 1 ? "" : "s"} selected` : said.dataset.none;
  return number ? said.textContent : `No ${noun} selected`;
}
document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-selection]");
  if (!form) return;
  if (event.target.matches("[data-select-all]")) {
    for (const box of form.querySelectorAll(`input[name=${form.dataset.selection || "message"}]`)) box.checked = event.target.checked;
  }
  announce(tellSelection(form));
});
// Back from the page of an act: browsers keep what was ticked, or not.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-selection]")) tellSelection(form);
});

// --- Menus close on Escape, on a click elsewhere, and when focus leaves ---------------------------------------------------
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) if (menu !== except) menu.open = false;
}
document.addEventListener("click", (event) => closeMenus(event.target.closest?.("details[data-menu]")));
document.addEventListener("focusin", (event) => closeMenus(event.target.closest?.("details[data-menu]")));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.activeElement?.closest("details[data-menu][open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = document.querySelector("[data-search-key]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});

// --- Filters -------------------------------------------------------------------------------------------------------------
document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-filters]");
  if (!form) return;
  // A hidden value, such as the order of the list, is no filter.
  const hidden = new Set([...form.elements].filter((found) => found.type === "hidden").map((found) => found.name));
  const given = [...new FormData(form)].filter(([name, value]) => value !== "" && !hidden.has(name));
  const set = new Set(given.map(([name]) => name));
  const count = form.closest("[data-filters-panel]")?.querySelector("[data-filters-count]");
  if (count) count.textContent = `(${set.size})`;
  // Dates and texts wait for the button or Enter: they change while they are typed.
  if (event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
});

// --- Swaps: what htmx asks for, and what people notice of it ----------------------------------------------------------------
const refreshes = new Map(); // element id -> {wait, due, text, stopped}
const pending = new WeakMap(); // target element -> what to restore after its swap

function memory(region) {
  if (!refreshes.has(region.id)) {
    const wait = Number(region.dataset.refresh) || 30;
    refreshes.set(region.id, { first: wait, wait, due: Date.now() + wait * 1000, stopped: false, failed: false });
  }
  return refreshes.get(region.id);
}

// Ages such as "3 minutes ago" pass by themselves: they are no change of what the region says.
function wording(region) {
  const copy = region.cloneNode(true);
  for (const passing of copy.querySelectorAll("time")) passing.remove();
  return copy.textContent;
}

function announced(region) {
  return region.matches("[data-announce]") ? region : region.querySelector("[data-announce]");
}

function rowKeys(region) {
  return new Set([...region.querySelectorAll("[data-key]")].map((row) => row.dataset.key));
}

document.addEventListener("htmx:configRequest", (event) => {
  const { elt, parameters, headers, triggeringEvent } = event.detail;
  if (elt.matches("form[data-filters]")) {
    for (const name of Object.keys(parameters)) if (parameters[name] === "") delete parameters[name];
  }
  // The server must not take a page that refreshes by itself for a person who is still there.
  if (triggeringEvent?.type === "portal:refresh") headers["X-Portal-Refresh"] = "1";
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target, requestConfig } = event.detail;
  const signIn = document.body.dataset.signIn;
  if (xhr.responseURL && new URL(xhr.responseURL).pathname === signIn) {
    event.detail.shouldSwap = false;
    const here = window.location.pathname + window.location.search;
    window.location.assign(`${signIn}?next=${encodeURIComponent(here)}`);
    return;
  }
  const byItself = requestConfig?.triggeringEvent?.type === "portal:refresh";
  const active = document.activeElement;
  const inside = target.contains(active) ? active : null;
  pending.set(xhr, {
    byItself,
    id: target.id,
    text: wording(target),
    said: announced(target)?.textContent,
    keys: rowKeys(target),
    focus: inside && { id: inside.id, href: inside.getAttribute("href"), key: inside.closest("[data-key]")?.dataset.key },
    open: [...target.querySelectorAll("details[open][id]")].map((found) => found.id),
    wanted: requestConfig?.elt?.dataset?.focus ?? "",
  });
});

function restoreFocus(region, kept) {
  if (kept.wanted) {
    const whole = document.getElementById(kept.wanted);
    // The table's own region has a name to speak; the fragment around it has none.
    const wanted = whole?.querySelector("[role=region][tabindex]") ?? whole;
    if (wanted) {
      if (!wanted.hasAttribute("tabindex")) wanted.tabIndex = -1;
      wanted.focus({ preventScroll: true });
    }
    return;
  }
  if (!kept.focus || !region || region.contains(document.activeElement)) return;
  const scope = (kept.focus.key && region.querySelector(`[data-key="${CSS.escape(kept.focus.key)}"]`)) || region;
  const again =
    (kept.focus.id && document.getElementById(kept.focus.id)) ||
    (kept.focus.href && scope.querySelector(`[href="${CSS.escape(kept.focus.href)}"]`));
  again?.focus({ preventScroll: true });
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    setTimeout(() => target.removeAttribute("data-new"), 8000);
  }
});

document.addEventListener("htmx:afterSwap", (event) => {
  const kept = pending.get(event.detail.xhr);
  pending.delete(event.detail.xhr);
  const region = kept && (document.getElementById(kept.id) ?? event.detail.target);
  if (!kept || !region) return;
  enhance(region);
  for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
  restoreFocus(region, kept);
  const changed = wording(region) !== kept.text;
  if (kept.byItself) {
    const state = memory(region);
    state.wait = changed ? state.first : Math.min(state.wait * 1.5, state.first * 6);
    state.due = Date.now() + state.wait * 1000;
    if (state.failed) announce("Up to date again.");
    state.failed = false;
    for (const row of region.querySelectorAll("[data-key]")) {
      if (kept.keys.size && !kept.keys.has(row.dataset.key)) {
        row.setAttribute("data-new", "");
        seen.observe(row);
      }
    }
  }
  // A refresh speaks only when what is meant to be spoken changed, not whenever anything in the region did.
  const spoken = announced(region);
  if (spoken && (!kept.byItself || spoken.textContent !== kept.said)) announce(spoken.textContent);
  components.then((library) => library?.initAll({ scope: region }));
});

function failed(event) {
  const { elt, xhr } = event.detail;
  const region = elt.closest?.("[data-refresh]");
  if (event.detail.requestConfig?.triggeringEvent?.type === "portal:refresh" && region) {
    const state = memory(region);
    state.wait = Math.min(state.wait * 2, state.first * 12);
    state.due = Date.now() + state.wait * 1000;
    region.setAttribute("data-stale", "");
    if (!state.failed) announce("This part of the page could not be refreshed. What you see may be out of date.");
    state.failed = true;
    if (xhr?.status === 404) state.stopped = true;
    return;
  }
  announce("That did not work. Reload the page and try again.");
}
document.addEventListener("htmx:responseError", failed);
document.addEventListener("htmx:sendError", failed);
document.addEventListener("htmx:timeout", failed);

// --- Live refresh: only while somebody can see it ----------------------------------------------------------------------------
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.xhr?.status !== 286) return;
  const region = event.detail.elt.closest?.("[data-refresh]");
  if (region?.id) memory(region).stopped = true;
});

function busy(region) {
  const active = document.activeElement;
  if (region.contains(active) && active.matches("input:not([type=checkbox]), select, textarea")) return true;
  if (region.querySelector("input:checked, dialog[open], details[data-menu][open]")) return true;
  if ([...region.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue)) return true;
  const selection = window.getSelection();
  return Boolean(selection && !selection.isCollapsed && region.contains(selection.anchorNode));
}

function tick() {
  if (document.hidden || !window.htmx) return;
  for (const region of document.querySelectorAll("[data-refresh][id]")) {
    const state = memory(region);
    if (state.stopped || Date.now() < state.due || busy(region)) continue;
    // Moved on before the answer, so that a slow server is not asked twice.
    state.due = Date.now() + state.wait * 1000;
    window.htmx.trigger(region, "portal:refresh");
  }
}
setInterval(tick, 1000);

function awake() {
  for (const state of refreshes.values()) {
    state.wait = state.first;
    state.due = Math.min(state.due, Date.now() + state.first * 1000);
  }
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const state of refreshes.values()) state.due = 0;
  awake();
  tick();
});
for (const kind of ["pointerdown", "keydown"]) document.addEventListener(kind, awake, { passive: true });

// A page that comes in pieces is spoken of once, when its last piece is there: scripts of this kind run only then.
const outcome = document.querySelector("[data-announce-once]");
if (outcome) announce(outcome.textContent);

root.dataset.scripts = "ready";

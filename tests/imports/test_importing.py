"""Mailboxes from a file: the dry run says what the act does, the act does all or nothing, and no secret is said."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from mailboxes import keeping, outlets, services, sheet
from mailboxes.import_rows import TAKEN
from mailboxes.models import Examination, ExaminationRow, Mailbox, MailboxImport, Organisation, Outlet
from meshportal.audit import services as audit
from meshportal.audit.models import AuditEvent
from meshportal.core import csvout
from meshportal.core.acts import Refused
from tests.conftest import Make
from tests.imports.conftest import PASSWORD, Prepare, applied, faults, new
from tests.imports.conftest import sheet as filed
from tests.receive.conftest import ACTOR
from tests.together import together

pytestmark = pytest.mark.django_db


def export(team: Any, environment: str = "sandbox") -> bytes:
    return "".join(csvout.lines(sheet.TABLE.header, sheet.exported(team, environment))).encode()


def cells(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def lines(imported: MailboxImport) -> list[tuple[int, str, list[list[str]]]]:
    return [(line["row"], line["kind"], line["changes"]) for line in imported.plan]


# --- The way of a good file -------------------------------------------------------------------------------------------------
def test_a_dry_run_changes_nothing_and_keeps_its_rows_sealed(prepare: Prepare, team: Any) -> None:
    imported = prepare(new(1), new(2, certificate="", mode="", ods_code="RH8"))
    assert (Mailbox.objects.count(), Organisation.objects.count(), Examination.objects.count()) == (0, 0, 0)
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["mailbox_import.prepared"]
    assert lines(imported) == [
        (
            2,
            "add",
            [
                ["ods_code", "", "X26"],
                ["password", "", "given"],
                ["certificate", "", "Midshire 2026"],
                ["mode", "", "Watch only"],
                ["poll_seconds", "", "600"],
            ],
        ),
        (3, "add", [["ods_code", "", "RH8"], ["password", "", "given"], ["mode", "", "Watch only"], ["poll_seconds", "", "600"]]),
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM mailboxes_mailboximport")
        raw = "".join(
            bytes(cell).decode("latin-1") if isinstance(cell, (bytes, memoryview)) else str(cell) for cell in cursor.fetchone()
        )
    assert PASSWORD not in raw
    assert "X26IM001" in raw


def test_applied_it_adds_everything_with_one_gesture_in_the_audit(prepare: Prepare, team: Any, identity: Any) -> None:
    imported = prepare(new(1), new(2, certificate="", mode="paused"), new(3, name="=Ward", workflow_filter="TOC_*"))
    examination = applied(imported)
    found = {mailbox.mailbox_id: mailbox for mailbox in Mailbox.objects.select_related("organisation", "identity")}
    assert sorted(found) == ["X26IM001", "X26IM002", "X26IM003"]
    first, second, third = (found[name] for name in sorted(found))
    assert (first.team, first.identity, first.mode, first.poll_interval_seconds) == (team, identity, "watch", 600)
    assert first.password == f"{PASSWORD}-1"
    assert (second.identity, second.mode) == (None, "paused")
    assert (third.name, third.workflow_filter) == ("=Ward", "TOC_*")
    events = AuditEvent.objects.filter(request_id=imported.request_id)
    assert Counter(events.values_list("action", flat=True)) == {
        "mailbox_import.prepared": 1,
        "mailbox.added": 3,
        "mailbox_import.applied": 1,
        "examination.begun": 1,
    }
    assert events.get(action="mailbox_import.applied").after == {
        "environment": "sandbox",
        "added": 3,
        "changed": 0,
        "unchanged": 0,
    }
    assert audit.verify().broken is None
    imported.refresh_from_db()
    assert (imported.rows, imported.examination) == (None, examination)
    assert set(examination.rows.values_list("mailbox", flat=True)) == {mailbox.pk for mailbox in found.values()}
    everything = json.dumps([*events.values("before", "after", "reason", "target_label"), imported.plan], default=str)
    assert PASSWORD not in everything


def test_export_edit_import_is_the_bulk_edit(prepare: Prepare, mailbox: Make, team: Any, identity: Any) -> None:
    first, second = mailbox(name="-Ward '1'", workflow_filter="'=X"), mailbox(name=' Ward, "2" ', mode="watch")
    theirs = mailbox(name="Ward 3")
    rows = cells(export(team))
    assert [row["password"] for row in rows] == ["", "", ""]
    by_id = {row["mailbox_id"]: row for row in rows}
    by_id[first.mailbox_id]["name"] = "Renamed"
    by_id[first.mailbox_id]["password"] = f"{PASSWORD}-new"
    by_id[second.mailbox_id]["mode"] = "collect"
    by_id[second.mailbox_id]["certificate"] = ""
    imported = prepare(*[{key: csvout.plain(value) for key, value in row.items()} for row in rows])
    assert {line["mailbox_id"]: (line["kind"], line["changes"]) for line in imported.plan} == {
        first.mailbox_id: ("change", [["name", "-Ward '1'", "Renamed"], ["password", "", "changed"]]),
        second.mailbox_id: ("change", [["mode", "Watch only", "Collect"]]),
        theirs.mailbox_id: ("same", []),
    }
    with pytest.raises(Refused, match="Say why the mode"):
        applied(imported)
    assert Mailbox.objects.get(pk=first.pk).name == "-Ward '1'"
    examination = applied(imported, reason="cut-over")
    assert set(examination.rows.values_list("mailbox", flat=True)) == {first.pk, second.pk}
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.name, first.password, first.revision) == ("Renamed", f"{PASSWORD}-new", 1)
    assert (second.name, second.mode, second.identity) == (' Ward, "2" ', "collect", identity)
    changed = AuditEvent.objects.get(action="mailbox.changed", target_id=str(first.pk))
    assert changed.after == {"name": "Renamed", "password": "(sealed)"}
    assert AuditEvent.objects.get(action="mailbox.changed", target_id=str(second.pk)).reason == "cut-over"


def test_an_export_read_back_changes_nothing(prepare: Prepare, mailbox: Make, team: Any, settings: Any, tmp_path: Any) -> None:
    settings.FOLDER_ROOT = tmp_path
    (tmp_path / "ward").mkdir()
    full = mailbox(folder="ward", send_from_folder=True, workflow_filter="!TOC_*", poll_interval_seconds=900)
    outlets.set_folder(actor=ACTOR, mailbox=full, enabled=True)
    outlets.set_webhook(actor=ACTOR, mailbox=full, url="https://consumer.example/in", secret="s" * 40)
    for name in ("=1+1", "  spaced  ", "'=quoted", '"a", b', "\tTab", "ward\u00a0", "Zoë"):
        mailbox(name=name)
    imported = prepare(data=export(team))
    assert [line["changes"] for line in imported.plan if line["kind"] != "same"] == []
    with pytest.raises(Refused, match="changes nothing"):
        applied(imported)
    assert "s" * 40 not in export(team).decode()


def test_a_file_may_have_the_columns_alone_that_it_changes(prepare: Prepare, mailbox: Make) -> None:
    box = mailbox(mode="watch")
    applied(prepare({"environment": "Sandbox", "mailbox_id": box.mailbox_id.lower(), "poll_seconds": "1,200"}))
    box.refresh_from_db()
    assert (box.poll_interval_seconds, box.mode) == (1200, "watch")


def test_a_password_that_is_there_already_is_no_change(prepare: Prepare, mailbox: Make) -> None:
    box = mailbox()
    imported = prepare({"mailbox_id": box.mailbox_id, "environment": "sandbox", "password": "password"})
    assert lines(imported) == [(2, "same", [])]
    # One that no key opens is replaced.
    with connection.cursor() as cursor:
        cursor.execute("UPDATE mailboxes_mailbox SET password = %s", [b"nothing that a key opens"])
    imported = prepare({"mailbox_id": box.mailbox_id, "environment": "sandbox", "password": "password"})
    assert lines(imported) == [(2, "change", [["password", "", "changed"]])]
    applied(imported)
    assert Mailbox.objects.get(pk=box.pk).password == "password"


def test_folders_and_webhooks(prepare: Prepare, settings: Any, tmp_path: Any, team: Any) -> None:
    settings.FOLDER_ROOT = tmp_path
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    where = {
        "folder": "one",
        "send_from_folder": "yes",
        "hand_on_to_folder": "yes",
        "webhook": "https://consumer.example/in",
        "webhook_secret": f"{PASSWORD}-{'s' * 32}",
    }
    applied(prepare(new(1, **where)))
    box = Mailbox.objects.get()
    assert (box.folder, box.send_from_folder) == ("one", True)
    assert set(Outlet.objects.filter(enabled=True).values_list("channel", "url")) == {
        ("folder", ""),
        ("webhook", "https://consumer.example/in"),
    }
    # Emptied cells take away; what is left of the secrets stays.
    row = cells(export(team))[0]
    gone = {**row, "folder": "", "send_from_folder": "no", "hand_on_to_folder": "no", "webhook": ""}
    imported = prepare(gone)
    assert lines(imported)[0][2] == [
        ["folder", "one", ""],
        ["send_from_folder", "yes", "no"],
        ["hand_on_to_folder", "yes", "no"],
        ["webhook", "https://consumer.example/in", ""],
    ]
    applied(imported)
    assert not Outlet.objects.filter(enabled=True).exists()
    assert PASSWORD not in json.dumps([MailboxImport.objects.get(pk=imported.pk).plan, *AuditEvent.objects.values("after")])


# --- What may be wrong with it ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"mailbox_id": "X26-1"}, "Row 3, mailbox_id: A mailbox ID is capital letters and digits without spaces"),
        ({"environment": "test"}, "Row 3, environment: Write one of: live, int, sandbox."),
        ({"ods_code": "X"}, "Row 3, ods_code: An ODS code is 3 to 12"),
        ({"ods_code": ""}, "Row 3, ods_code: This mailbox is new, so it needs the ODS code"),
        ({"name": ""}, "Row 3, name: This mailbox is new, so it needs a name."),
        ({"password": ""}, "Row 3, password: This mailbox is new, so it needs its password"),
        ({"password": f" {PASSWORD}"}, "Row 3, password: It begins or ends with a blank"),
        ({"certificate": PASSWORD}, "Row 3, certificate: The team has no certificate of this name for sandbox."),
        ({"mode": PASSWORD}, "Row 3, mode: Write one of: collect, watch, paused."),
        ({"workflow_filter": "*X"}, "Row 3, workflow_filter: Write *WORD* for “contains”."),
        ({"poll_seconds": "0"}, "Row 3, poll_seconds: Write a whole number from 1 to 86,400."),
        ({"folder": "ward"}, "Row 3, folder: The portal has no root for the folders of mailboxes."),
        ({"send_from_folder": "yes"}, "Row 3"),
        ({"hand_on_to_folder": "yes"}, "Row 3, hand_on_to_folder: This mailbox has no folder."),
        ({"webhook": "http://consumer.example/"}, "Row 3, webhook: "),
        ({"webhook": "https://consumer.example/"}, "Row 3, webhook_secret: Give a secret: requests are signed with it."),
        (
            {"webhook": "https://consumer.example/", "webhook_secret": PASSWORD},
            "Row 3, webhook_secret: Give a secret of at least",
        ),
    ],
)
def test_a_row_that_is_refused_refuses_the_file(team: Any, identity: Any, row: dict[str, Any], sentence: str) -> None:
    more = dict.fromkeys(row, "")
    said = faults(team, filed(new(1, **{name: new(1).get(name, "") for name in more}), new(2, **row)))
    assert len(said) == 1
    assert said[0].startswith(sentence), said
    assert PASSWORD not in said[0]
    assert (Mailbox.objects.count(), MailboxImport.objects.count(), AuditEvent.objects.count()) == (0, 0, 0)


def test_every_row_is_looked_at(team: Any, identity: Any, mailbox: Make, other_team: Any) -> None:
    ours = mailbox(mailbox_id="X26IM009")
    mailbox(team=other_team, mailbox_id="X26IM008")
    data = filed(
        new(1, name=""), new(2, password="", certificate="other"), new(8), new(9, ods_code="RH8"), new(3, poll_seconds="")
    )
    said = faults(team, data)
    assert [one.partition(":")[0] for one in said] == [
        "Row 2, name",
        "Row 3, certificate",
        "Row 3, password",
        "Row 4, mailbox_id",
        "Row 5, ods_code",
    ]
    assert said[3].endswith(TAKEN)
    assert Mailbox.objects.get(pk=ours.pk).revision == 0


def test_environments_are_never_mixed(team: Any, identity: Any) -> None:
    said = faults(team, filed(new(1), new(2, environment="live", certificate="")))
    assert said == ["The file holds mailboxes of live and sandbox, which are never mixed in one act. Make a file for each."]
    assert faults(team, filed(new(1, environment="live", certificate="", poll_seconds=299))) == [
        "Row 2, poll_seconds: MESH asks for at least 300 seconds between polls."
    ]


def test_two_rows_with_one_folder(team: Any, identity: Any, settings: Any, tmp_path: Any) -> None:
    settings.FOLDER_ROOT = tmp_path
    (tmp_path / "one" / "two").mkdir(parents=True)
    said = faults(team, filed(new(1, folder="one"), new(2, folder="one/two")))
    assert said == ["Row 3, folder: This folder is that of mailbox X26IM001, or one lies within the other."]


# --- Between the dry run and the act ----------------------------------------------------------------------------------------
def test_what_changed_meanwhile_is_shown_anew(prepare: Prepare, mailbox: Make) -> None:
    box = mailbox(name="Old")
    imported = prepare(
        {"mailbox_id": box.mailbox_id, "environment": "sandbox", "name": "New"},
    )
    services.change_mailbox(actor=ACTOR, mailbox=box, name="Other")
    with pytest.raises(Refused, match="changed since you looked"):
        applied(imported)
    assert Mailbox.objects.get(pk=box.pk).name == "Other"
    before = imported.digest
    imported.refresh_from_db()
    assert imported.digest != before
    assert lines(imported) == [(2, "change", [["name", "Other", "New"]])]
    applied(imported)
    assert Mailbox.objects.get(pk=box.pk).name == "New"


def test_what_was_added_meanwhile_is_a_change_now(prepare: Prepare, mailbox: Make) -> None:
    imported = prepare(new(1))
    mailbox(mailbox_id="X26IM001", name="By hand", poll_interval_seconds=600)
    with pytest.raises(Refused, match="changed since you looked"):
        applied(imported)
    imported.refresh_from_db()
    assert imported.plan[0]["kind"] == "change"
    assert ["name", "By hand", "Ward 1"] in imported.plan[0]["changes"]


def test_a_row_that_became_impossible_is_named(prepare: Prepare, identity: Any, mailbox: Make, other_team: Any) -> None:
    imported = prepare(new(1), new(2))
    mailbox(team=other_team, mailbox_id="X26IM002")
    with pytest.raises(Refused, match="Row 3, mailbox_id: A mailbox with this ID cannot be added"):
        applied(imported)
    assert Mailbox.objects.count() == 1
    assert MailboxImport.objects.get(pk=imported.pk).rows is not None


def test_an_import_is_done_once(prepare: Prepare) -> None:
    imported = prepare(new(1))
    applied(imported)
    with pytest.raises(Refused, match="imported already"):
        applied(imported)
    with pytest.raises(Refused, match="imported already"):
        keeping.discard(actor=ACTOR, upload=imported)
    assert AuditEvent.objects.filter(action="mailbox.added").count() == 1


def test_discarded_and_expired_files_are_gone(prepare: Prepare) -> None:
    one, two, three = prepare(new(1)), prepare(new(1)), prepare(new(1))
    keeping.discard(actor=ACTOR, upload=one)
    MailboxImport.objects.filter(pk=two.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Refused, match="more than two hours ago"):
        applied(two)
    assert keeping.sweep(MailboxImport) == 1
    assert keeping.sweep(MailboxImport) == 0
    for gone in (one, two):
        with pytest.raises(Refused, match="or it was discarded"):
            applied(gone)
    kept = dict(MailboxImport.objects.values_list("pk", "rows"))
    assert (kept[one.pk], kept[two.pk], kept[three.pk] is None) == (None, None, False)
    assert AuditEvent.objects.filter(action="mailbox_import.discarded").count() == 2


def test_rows_that_no_key_opens_are_uploaded_again(prepare: Prepare) -> None:
    imported = prepare(new(1))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE mailboxes_mailboximport SET rows = %s", [b"nothing that a key opens"])
    with pytest.raises(Refused, match="cannot be opened"):
        applied(imported)
    keeping.discard(actor=ACTOR, upload=imported)


def test_a_failure_in_the_middle_leaves_nothing(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = prepare(*[new(number) for number in range(5)])
    events, real, calls = AuditEvent.objects.count(), audit.record, []

    def dies(**arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 4:
            raise RuntimeError("killed")
        return real(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", dies)
        with pytest.raises(RuntimeError, match="killed"):
            applied(imported)
    assert (Mailbox.objects.count(), ExaminationRow.objects.count(), AuditEvent.objects.count()) == (0, 0, events)
    applied(imported)
    assert Mailbox.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_two_people_import_the_same_file_in_the_same_moment(prepare: Prepare) -> None:
    imported = prepare(*[new(number) for number in range(5)])
    found = together(lambda: applied(imported), lambda: applied(imported))
    assert sorted(type(one).__name__ for one in found) == ["Examination", "Refused"]
    assert (Mailbox.objects.count(), ExaminationRow.objects.count()) == (5, 5)
    assert audit.verify().broken is None


@pytest.mark.django_db(transaction=True)
def test_two_files_add_the_same_mailboxes_in_the_same_moment(prepare: Prepare) -> None:
    rows = [new(number, ods_code="RH8") for number in range(5)]
    one, two = prepare(*rows), prepare(*reversed(rows))
    found = together(lambda: applied(one), lambda: applied(two))
    assert sorted(type(one).__name__ for one in found) == ["Examination", "Refused"], found
    assert (Mailbox.objects.count(), ExaminationRow.objects.count()) == (5, 5)
    assert audit.verify().broken is None


@pytest.mark.django_db(transaction=True)
def test_somebody_changes_a_mailbox_while_it_is_imported(prepare: Prepare, mailbox: Make) -> None:
    boxes = [mailbox(name=f"Old {number}") for number in range(5)]
    imported = prepare(*[{"mailbox_id": box.mailbox_id, "environment": "sandbox", "name": "New"} for box in boxes])
    acts = [lambda box=box: services.change_mailbox(actor=ACTOR, mailbox=box, poll_interval_seconds=900) for box in boxes[:2]]
    found = together(lambda: applied(imported), *acts)
    assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, Refused)], found
    refused = any(isinstance(one, Refused) for one in found)
    names = set(Mailbox.objects.values_list("name", flat=True))
    assert names == ({f"Old {number}" for number in range(5)} if refused else {"New"})
    assert Mailbox.objects.filter(poll_interval_seconds=900).count() == 2


def test_a_rehearsal_leaves_no_event_and_ends(team: Any) -> None:
    with audit.rehearsal():
        audit.record(actor=ACTOR, action="team.added", target=team)
        Organisation.objects.create(ods_code="X26")
    with pytest.raises(RuntimeError), audit.rehearsal():
        Organisation.objects.create(ods_code="X27")
        raise RuntimeError
    assert (AuditEvent.objects.count(), Organisation.objects.count()) == (0, 0)
    audit.record(actor=ACTOR, action="team.added", target=team)
    assert AuditEvent.objects.count() == 1

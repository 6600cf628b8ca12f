"""Made-up messages of every kind that a page shows differently."""

from __future__ import annotations

import json
from typing import Any

_XML = "<letter><to>Dr Field</to><body>" + "A discharge summary. " * 40 + "</body></letter>"
_FHIR = json.dumps({"resourceType": "Bundle", "type": "message", "entry": [{"resource": {"resourceType": "Task"}}] * 3})
_CSV = "NHS number,Name,Result\n" + "\n".join(f"99900000{row:02d},Person {row},Normal" for row in range(30))
_EDIFACT = (
    "UNA:+.? 'UNB+UNOA:2+5555:1+6666:1+261124:0900+1'UNH+1+MEDRPT:0:1:RT'NAD+PO+G81086'FTX+1+++Haemoglobin? 14'UNT+4+1'UNZ+1+1'"
)
_REPORT = {
    "code": "14",
    "event": "SEND",
    "description": "Message not collected by recipient after 5 days",
    "linked_message_id": "20200529155357895317_3573F8",
}

LETTERS: list[dict[str, Any]] = [
    {"body": "Dear Dr Field,\n\nA plain letter.\n", "workflow_id": "TOC_OUTP_ATT_DMS", "file_name": "letter.txt"},
    {"body": _XML, "workflow_id": "TOC_FHIR_IP_DISCH", "file_name": "discharge.xml", "subject": "Discharge of Mrs Jones"},
    {"body": _FHIR, "workflow_id": "GPCONNECT_SEND_DOCUMENT", "file_name": "bundle.json", "chunks": 2, "gzip": True},
    {"body": _CSV, "workflow_id": "SCRN_BCS_MEDRPT_V4", "file_name": "screening.csv", "content_type": "text/csv"},
    {"body": _EDIFACT, "workflow_id": "PATH_MEDRPT_V3", "file_name": "results.edi"},
    {"body": b"%PDF-1.7 made up", "workflow_id": "TOC_FHIR_MH_DISCH", "file_name": "scan.pdf"},
    {
        "body": "<script>alert(1)</script>",
        "workflow_id": "<script>alert(2)</script>",
        "file_name": "../../<img src=x onerror=alert(3)>.html",
        "local_id": "=cmd|' /C calc'!A0",
        "subject": "<b>bold</b>",
        "sender": "YGM24HC001",
    },
    {"report": _REPORT, "workflow_id": "TOC_FHIR_EC_DISCH", "subject": "NDR"},
]

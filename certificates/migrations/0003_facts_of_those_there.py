from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import migrations

from certificates import reading


def fill(apps: Any, schema_editor: Any) -> None:
    """Reads what is installed already. One that cannot be read keeps what it had.

    ``updated_at`` stays as it is, so that no kept connection is made anew.
    """
    rows = apps.get_model("certificates", "ClientIdentity").objects.using(schema_editor.connection.alias)
    for identity in rows.filter(effective_expiry__isnull=True).only("pk", "certificate_pem").iterator(chunk_size=100):
        try:
            first, *others = reading.certificates_in(identity.certificate_pem.encode(), "the database")
            examined = reading.examine(reading.in_order(first, others)[0], datetime.now(UTC))
        except reading.CannotUse:
            continue
        rows.filter(pk=identity.pk).update(
            effective_expiry=examined.effective_expiry,
            key_kind=examined.leaf.key_kind[:40],
            key_size=examined.leaf.key_size,
            signature=examined.leaf.signature[:80],
            generation=examined.generation,
            local_id=examined.local_id,
            ods_code=examined.ods_code,
        )


class Migration(migrations.Migration):
    dependencies = [("certificates", "0002_inventory_facts")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]

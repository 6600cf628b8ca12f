from __future__ import annotations

from typing import Any

from django.db import migrations

from meshportal.core.triggers import append_only

_INDEX = "message_search_trigram"


def add_trigram_index(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    schema_editor.execute(f"CREATE INDEX {_INDEX} ON mesh_messages_message USING gin (search gin_trgm_ops)")


def drop_trigram_index(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP INDEX {_INDEX}")


class Migration(migrations.Migration):
    dependencies = [("mesh_messages", "0001_initial")]

    operations = [
        append_only("mesh_messages_messageevent"),
        migrations.RunPython(add_trigram_index, drop_trigram_index),
    ]

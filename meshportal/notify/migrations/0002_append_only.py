from __future__ import annotations

from django.db import migrations

from meshportal.core.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [("notify", "0001_initial")]

    operations = [append_only("notify_alertevent")]

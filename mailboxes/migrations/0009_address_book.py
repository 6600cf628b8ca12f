import uuid

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from meshportal.core.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("mailboxes", "0008_workflows_of_mailboxes"),
    ]

    operations = [
        migrations.CreateModel(
            name="LookupPace",
            fields=[
                (
                    "environment",
                    models.CharField(
                        choices=[("live", "Live"), ("int", "Integration"), ("sandbox", "Sandbox")],
                        max_length=10,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("next_at", models.DateTimeField()),
                ("held_until", models.DateTimeField(blank=True, null=True)),
                (
                    "failures",
                    models.PositiveIntegerField(default=0, help_text="Of different pairs, without a success in between."),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AddressPair",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True)),
                ("lease_until", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "environment",
                    models.CharField(choices=[("live", "Live"), ("int", "Integration"), ("sandbox", "Sandbox")], max_length=10),
                ),
                (
                    "ods_code",
                    models.CharField(
                        max_length=12,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z0-9]{3,12}$", "An ODS code is 3 to 12 capital letters and digits, such as RH8 or G81086."
                            )
                        ],
                        verbose_name="ODS code",
                    ),
                ),
                ("workflow_id", models.CharField(max_length=300, verbose_name="workflow ID")),
                ("next_lookup_at", models.DateTimeField(blank=True, null=True)),
                (
                    "urgent",
                    models.BooleanField(
                        default=False, help_text="Asked for by a report or a person: goes before the nightly ones."
                    ),
                ),
                (
                    "hourly_until",
                    models.DateTimeField(blank=True, help_text="Asked every hour until then (a switch is on).", null=True),
                ),
                ("asked_at", models.DateTimeField(blank=True, help_text="When MESH was last asked.", null=True)),
                ("answered_at", models.DateTimeField(blank=True, help_text="When MESH last answered.", null=True)),
                ("results", models.JSONField(blank=True, default=list)),
                ("failures", models.PositiveIntegerField(default=0, help_text="In a row.")),
                ("problem_code", models.CharField(blank=True, max_length=40)),
                ("problem", models.TextField(blank=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_lookup_at__isnull", False)),
                        fields=["environment", "urgent", "next_lookup_at"],
                        name="address_pair_due",
                    ),
                    models.Index(
                        condition=models.Q(("next_lookup_at__isnull", False)),
                        fields=["answered_at"],
                        name="address_pair_answered",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "ods_code", "workflow_id"), name="address_pair_once"),
                    models.CheckConstraint(
                        condition=models.Q(("environment__in", ["live", "int", "sandbox"])), name="address_pair_environment"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease_token__isnull", True), ("lease_until__isnull", True)),
                            models.Q(("lease_token__isnull", False), ("lease_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="address_pair_lease_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AddressEntry",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("mailbox_id", models.CharField(blank=True, max_length=100, verbose_name="mailbox ID")),
                ("mailbox_name", models.CharField(blank=True, max_length=300)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("lookup", "Endpoint lookup"),
                            ("typed", "Entered by hand"),
                            ("imported", "Imported"),
                            ("traffic", "Seen in traffic"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "drift",
                    models.CharField(
                        choices=[
                            ("new", "Not checked yet"),
                            ("agrees", "Agrees"),
                            ("unknown", "No mailbox known"),
                            ("changed", "Changed"),
                            ("gone", "No mailbox any more"),
                            ("several", "Several mailboxes"),
                        ],
                        default="new",
                        max_length=10,
                    ),
                ),
                ("drift_since", models.DateTimeField(blank=True, null=True)),
                (
                    "verified_at",
                    models.DateTimeField(blank=True, help_text="When MESH last answered what stands here.", null=True),
                ),
                ("accepted", models.JSONField(blank=True, default=list)),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                ("team", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.team")),
                (
                    "pair",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="entries", to="mailboxes.addresspair"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "address entries",
            },
        ),
        migrations.CreateModel(
            name="AddressAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                (
                    "results",
                    models.JSONField(blank=True, help_text="Empty for a failure; an empty list is an answer.", null=True),
                ),
                ("problem_code", models.CharField(blank=True, max_length=40)),
                ("problem", models.TextField(blank=True)),
                (
                    "pair",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="answers", to="mailboxes.addresspair"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="WorkflowSearch",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True)),
                ("lease_until", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "environment",
                    models.CharField(choices=[("live", "Live"), ("int", "Integration"), ("sandbox", "Sandbox")], max_length=10),
                ),
                ("workflow_id", models.CharField(max_length=300, verbose_name="workflow ID")),
                ("next_search_at", models.DateTimeField(blank=True, null=True)),
                ("searched_at", models.DateTimeField(blank=True, null=True)),
                ("members", models.JSONField(blank=True, default=dict)),
                ("failures", models.PositiveIntegerField(default=0, help_text="In a row.")),
                ("problem", models.TextField(blank=True)),
            ],
            options={
                "verbose_name_plural": "workflow searches",
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_search_at__isnull", False)),
                        fields=["next_search_at"],
                        name="workflow_search_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "workflow_id"), name="workflow_search_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease_token__isnull", True), ("lease_until__isnull", True)),
                            models.Q(("lease_token__isnull", False), ("lease_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="workflow_search_lease_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkflowDifference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("appeared", models.JSONField(default=list)),
                ("vanished", models.JSONField(default=list)),
                ("total", models.PositiveIntegerField(help_text="How many there are now.")),
                (
                    "search",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="differences", to="mailboxes.workflowsearch"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AddressChange",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("changed", "Changed"), ("gone", "No mailbox any more"), ("several", "Several mailboxes")],
                        max_length=10,
                    ),
                ),
                ("old", models.CharField(max_length=100)),
                ("new", models.JSONField(default=list, help_text="The mailbox ids that MESH answered.")),
                ("at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "ended",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("confirmed", "A person confirmed the address"),
                            ("returned", "MESH answers as before again"),
                            ("superseded", "MESH answers yet another thing"),
                            ("removed", "The entry was removed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("ended_by", models.CharField(blank=True, max_length=300)),
                ("reason", models.TextField(blank=True)),
                ("team", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.team")),
                (
                    "entry",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="changes", to="mailboxes.addressentry"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["entry", "-at"], name="address_change_entry")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)), fields=("entry",), name="address_change_one_open"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended", ""), ("ended_at__isnull", True)),
                            models.Q(("ended_at__isnull", False), models.Q(("ended", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="address_change_ended",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="addressentry",
            index=models.Index(fields=["team", "drift"], name="address_entry_team"),
        ),
        migrations.AddIndex(
            model_name="addressentry",
            index=models.Index(fields=["mailbox_id"], name="address_entry_mailbox"),
        ),
        migrations.AddIndex(
            model_name="addressentry",
            index=models.Index(
                condition=models.Q(("drift__in", ["changed", "gone", "several"])),
                fields=["drift_since"],
                name="address_entry_drifted",
            ),
        ),
        migrations.AddConstraint(
            model_name="addressentry",
            constraint=models.UniqueConstraint(fields=("team", "pair"), name="address_entry_once"),
        ),
        migrations.AddConstraint(
            model_name="addressentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["lookup", "typed", "imported", "traffic"])), name="address_entry_source"
            ),
        ),
        migrations.AddConstraint(
            model_name="addressentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("drift__in", ["new", "agrees", "unknown", "changed", "gone", "several"])),
                name="address_entry_drift",
            ),
        ),
        migrations.AddConstraint(
            model_name="addressentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("drift__in", ["changed", "gone", "several"]), ("drift_since__isnull", False)),
                    models.Q(("drift__in", ["new", "agrees", "unknown"]), ("drift_since__isnull", True)),
                    _connector="OR",
                ),
                name="address_entry_since",
            ),
        ),
        migrations.AddIndex(
            model_name="addressanswer",
            index=models.Index(fields=["pair", "-id"], name="address_answer_pair"),
        ),
        migrations.AddIndex(
            model_name="workflowdifference",
            index=models.Index(fields=["search", "-id"], name="workflow_difference_search"),
        ),
        append_only("mailboxes_addressanswer"),
        append_only("mailboxes_workflowdifference"),
    ]

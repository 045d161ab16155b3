from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("status", "0009_jobs_list"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="job", name="status_job_root"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("root__isnull", False)), fields=["root", "state"], name="status_job_below"
            ),
        ),
    ]

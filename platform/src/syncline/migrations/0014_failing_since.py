from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("syncline", "0013_streams")]

    operations = [
        migrations.AddField(model_name="runpart", name="failing_since", field=models.DateTimeField(blank=True, null=True)),
    ]

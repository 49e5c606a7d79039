from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("syncline", "0017_room_in_the_identity_index")]

    operations = [
        migrations.AddField(model_name="runpart", name="failing_since", field=models.DateTimeField(blank=True, null=True)),
    ]

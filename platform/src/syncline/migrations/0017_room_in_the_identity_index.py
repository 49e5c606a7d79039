"""Each full pull writes anew when it saw an identity. With room on the same page that touches none of the indexes."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('syncline', '0016_unread_deliveries'),
    ]

    operations = [
        migrations.AlterField(
            model_name='identityindex',
            name='connection',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=models.deletion.CASCADE, related_name='+', to='syncline.connection'),
        ),
        migrations.RunSQL(
            'ALTER TABLE syncline_identityindex SET (fillfactor = 60)',
            'ALTER TABLE syncline_identityindex RESET (fillfactor)',
        ),
    ]

"""Each full pull writes anew when it saw an identity. With room on the same page that touches none of the indexes."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('syncline', '0013_unread_deliveries'),
    ]

    operations = [
        migrations.RunSQL(
            'ALTER TABLE syncline_identityindex SET (fillfactor = 60)',
            'ALTER TABLE syncline_identityindex RESET (fillfactor)',
        ),
    ]

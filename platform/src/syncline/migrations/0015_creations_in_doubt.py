from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('syncline', '0014_api_keys'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='link',
            index=models.Index(condition=models.Q(('remote_id__isnull', True), ('uncertain_op', 'create')), fields=['connection', 'object_type'], name='link_creating'),
        ),
    ]

"""The schedules of django-celery-beat. Without that nothing in here but `due` can be imported."""

"""A site with Django's admin and the page of devices."""

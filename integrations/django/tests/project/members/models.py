"""The model of users."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class MemberManager(BaseUserManager):
    """Finds users for logins."""


class Member(AbstractBaseUser):
    """A user."""

    member_id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_column="Member Id")
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    objects = MemberManager()

    class Meta:
        """The name of the table has to be quoted."""

        db_table = "The members"

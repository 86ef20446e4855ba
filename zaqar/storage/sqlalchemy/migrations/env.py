# SPDX-License-Identifier: Apache-2.0
"""Run by alembic for each of its commands that concerns a database."""

from alembic import context

from zaqar.storage.sqlalchemy import migrations, tables


def run_offline() -> None:
    """Print the SQL."""
    context.configure(
        url=context.config.attributes['url'],
        target_metadata=tables.METADATA,
        literal_binds=True,
        dialect_opts={'paramstyle': 'named'},
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Work on the database, all in one transaction where it can."""
    with migrations.connect(context.config.attributes['url']) as connection:
        migrations.lock(connection)
        context.configure(
            connection=connection,
            target_metadata=tables.METADATA,
            include_name=migrations.is_ours,
            include_object=migrations.is_made(connection.dialect),
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()

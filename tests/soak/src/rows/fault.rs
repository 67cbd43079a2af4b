//! What can be broken on purpose, to see that a run finds it.

use tokio_postgres::Client;

use crate::Result;

/// Something that is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Purges delete rows two seconds too early.
    EarlyPurge,
    /// Some deletions are undone.
    Revival,
    /// Some saves are confirmed, and change nothing but the version.
    LostSave,
    /// Purges leave some rows.
    KeptRows,
}

const REVIVAL: &str = "
    CREATE FUNCTION public.revive() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        columns text := (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                         WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped AND attgenerated = '');
    BEGIN
        IF random() < 0.1 AND OLD.expires_at > now() THEN
            EXECUTE format('INSERT INTO qsessions.session (%s) SELECT %s FROM (SELECT ($1).*) AS o', columns, columns)
                USING OLD;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER revive AFTER DELETE ON qsessions.session FOR EACH ROW EXECUTE FUNCTION public.revive()";

const LOST_SAVE: &str = "
    CREATE FUNCTION public.lose() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.05 THEN
            NEW.data := OLD.data;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER lose BEFORE UPDATE ON qsessions.session FOR EACH ROW EXECUTE FUNCTION public.lose()";

const KEPT_ROWS: &str = "
    CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.expires_at <= now() AND hashtext(OLD.id::text) % 4 = 0 THEN
            RETURN NULL;
        END IF;
        RETURN OLD;
    END $$;
    CREATE TRIGGER keep BEFORE DELETE ON qsessions.session FOR EACH ROW EXECUTE FUNCTION public.keep()";

impl Fault {
    /// Breaks the server.
    ///
    /// # Errors
    ///
    /// If a statement fails, or the function to break does not look as expected.
    pub async fn plant(self, client: &Client) -> Result<()> {
        let statements = match self {
            Self::EarlyPurge => early_purge(client).await?,
            Self::Revival => REVIVAL.to_owned(),
            Self::LostSave => LOST_SAVE.to_owned(),
            Self::KeptRows => KEPT_ROWS.to_owned(),
        };
        client.batch_execute(&statements).await?;
        Ok(())
    }
}

/// The function that finds expired rows, changed.
async fn early_purge(client: &Client) -> Result<String> {
    let definition: String = client
        .query_one(
            "SELECT pg_get_functiondef('qsessions._lock_expired'::regproc)",
            &[],
        )
        .await?
        .get(0);
    let early = definition
        .replace(
            "s.expires_at <= now()",
            "s.expires_at <= now() + interval '2 s'",
        )
        .replace(
            "s.expires_hour <= now()",
            "s.expires_hour <= now() + interval '2 s'",
        );
    if early == definition {
        return Err("the function _lock_expired has another condition".into());
    }
    Ok(early)
}

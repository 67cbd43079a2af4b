//! A writer: one connection, and sessions that no other writer changes. So it knows what each of
//! its calls must find.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};

use super::book::{Book, Fact, Life, Session, lock};
use super::others::{connect, is_lost};
use crate::Result;

/// Sessions that a writer has at a time.
const SESSIONS: usize = 12;
/// Dead sessions that it goes on to look at.
const GRAVES: usize = 30;
/// SQLSTATE of a session that does not exist, or has expired.
const NOT_FOUND: &str = "QS001";
/// SQLSTATE of a lock that was waited for too long.
const LOCK_TIMEOUT: &str = "55P03";
/// SQLSTATE of a deadlock. Writers share no session, and purges and visits skip rows that are
/// locked, so there must be none.
const DEADLOCK: &str = "40P01";
const LONG: Duration = Duration::from_secs(3_600);

type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How a call has ended.
enum Ended {
    Row(Row),
    NotFound,
    /// The server has rolled it back.
    Refused,
    Unknown,
}

struct Writer {
    user: i64,
    client: Client,
    book: Arc<Book>,
    own: Vec<Arc<Mutex<Session>>>,
    dead: Vec<Arc<Mutex<Session>>>,
    is_lost: bool,
}

/// Writes until this time.
pub(super) async fn run(
    number: usize,
    config: Config,
    book: Arc<Book>,
    mut rng: Rng,
    until: Instant,
) -> Result<()> {
    let Some(client) = connect(&config, until).await else {
        return Ok(());
    };
    let mut writer = Writer {
        user: number as i64,
        client,
        book,
        own: vec![],
        dead: vec![],
        is_lost: false,
    };
    while Instant::now() < until {
        if writer.is_lost {
            let Some(client) = connect(&config, until).await else {
                break;
            };
            writer.client = client;
            writer.is_lost = false;
            for session in writer.own.clone() {
                writer.look(&session).await?;
            }
        } else {
            writer.operation(&mut rng).await?;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..4))).await;
    }
    Ok(())
}

impl Writer {
    async fn operation(&mut self, rng: &mut Rng) -> Result<()> {
        let dies = |session: &Arc<Mutex<Session>>| {
            matches!(lock(session).life, Life::Ended | Life::Expired)
        };
        self.dead
            .extend(self.own.extract_if(.., |session| dies(session)));
        let surplus = self.dead.len().saturating_sub(GRAVES);
        self.dead.drain(..surplus);
        if self.own.len() < SESSIONS {
            return self.create(rng).await;
        }
        let session = Arc::clone(&self.own[rng.usize(..self.own.len())]);
        match rng.u32(0..100) {
            0..30 => self.save(&session, rng).await,
            30..45 => self.resume(&session).await,
            45..55 => self.set_expiry(&session, rng).await,
            55..62 => self.rotate(&session).await,
            62..68 => self.end(&session, true).await,
            68..74 => self.end(&session, false).await,
            74..76 => self.end_all().await,
            _ => self.look_at_dead(rng).await,
        }
    }

    async fn call(&mut self, statement: &str, arguments: Arguments<'_>) -> Result<Ended> {
        match self.client.query_opt(statement, arguments).await {
            Ok(Some(row)) => Ok(Ended::Row(row)),
            Ok(None) => Ok(Ended::NotFound),
            Err(error) if is_lost(&error) => {
                self.is_lost = true;
                Ok(Ended::Unknown)
            }
            Err(error) => match error.code().map(|code| code.code()) {
                Some(NOT_FOUND) => Ok(Ended::NotFound),
                Some(LOCK_TIMEOUT) => {
                    self.book.count(|counts| counts.refused += 1);
                    Ok(Ended::Refused)
                }
                Some(DEADLOCK) => {
                    self.book.violation(format!("{statement}: {error:?}"));
                    Ok(Ended::Refused)
                }
                _ => Err(format!("{statement} has failed: {error:?}").into()),
            },
        }
    }

    /// A call that changes sessions, if it succeeds.
    async fn change(&mut self, statement: &str, arguments: Arguments<'_>) -> Result<Ended> {
        let ended = self.call(statement, arguments).await?;
        if matches!(ended, Ended::Unknown) {
            self.book.count(|counts| counts.unknown += 1);
        }
        Ok(ended)
    }

    async fn create(&mut self, rng: &mut Rng) -> Result<()> {
        let (user, token) = (self.user, self.book.token());
        let millis = |range| Duration::from_millis(range);
        let (ttl, idle) = match rng.u32(0..4) {
            0 => (None, Some(millis(rng.u64(300..2_000)))),
            1 => (None, Some(LONG)),
            2 => (Some(millis(rng.u64(100..3_000))), None),
            _ => (Some(LONG), None),
        };
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        let ended = self
            .change(
                "SELECT c.key, c.id, c.expires_at FROM qsessions.create_session(
                     user_id => $1::bigint, data => jsonb_build_object('token', $2::bigint),
                     ttl => make_interval(secs => $3), idle_timeout => make_interval(secs => $4)) AS c",
                &[&user, &token, &seconds(ttl), &seconds(idle)],
            )
            .await?;
        match ended {
            Ended::Row(row) => {
                let expires_at = row.get(2);
                self.own.push(self.book.created(Session {
                    id: row.get(1),
                    key: Some(row.get(0)),
                    idle,
                    life: Life::Live,
                    fact: Fact { version: 1, token },
                    maybe: None,
                    low: expires_at,
                    high: expires_at,
                }));
            }
            Ended::Unknown => self.book.maybe_created(token),
            Ended::NotFound | Ended::Refused => {}
        }
        Ok(())
    }

    /// Checks a call that has found a live session.
    fn found(&self, session: &Mutex<Session>, start: SystemTime) {
        let end = SystemTime::now();
        let mut session = lock(session);
        self.book.check(session.found(start));
        session.may_be_visited(end);
        self.book.count(|counts| counts.changed += 1);
    }

    /// Checks a call that has found no live session.
    async fn not_found(&mut self, session: &Mutex<Session>) -> Result<()> {
        let end = SystemTime::now();
        let result = lock(session).not_found(end);
        match result {
            Ok(true) => Ok(()),
            Ok(false) => self.wait_for_visits(session).await,
            Err(what) => {
                self.book.violation(what);
                Ok(())
            }
        }
    }

    /// Waits for the visits that may have begun before the session has expired, and looks again.
    async fn wait_for_visits(&mut self, session: &Mutex<Session>) -> Result<()> {
        let statement = "SELECT clock_timestamp()";
        let Ended::Row(row) = self.call(statement, &[]).await? else {
            return Ok(());
        };
        let now: SystemTime = row.get(0);
        loop {
            let statement = "SELECT count(*) FROM pg_stat_activity
                             WHERE xact_start <= $1 AND query LIKE '%record_visits%' AND pid <> pg_backend_pid()";
            match self.call(statement, &[&now]).await? {
                Ended::Row(row) if row.get::<_, i64>(0) > 0 => tokio::task::yield_now().await,
                Ended::Row(_) => break,
                _ => return Ok(()),
            }
        }
        let id = lock(session).id;
        let start = SystemTime::now();
        let statement = "SELECT FROM qsessions.session WHERE id = $1 AND expires_at > now()";
        match self.call(statement, &[&id]).await? {
            Ended::Row(_) => self.book.check(lock(session).found(start)),
            Ended::NotFound => lock(session).expired(),
            Ended::Unknown | Ended::Refused => {}
        }
        Ok(())
    }

    async fn save(&mut self, session: &Mutex<Session>, rng: &mut Rng) -> Result<()> {
        let Some(key) = lock(session).key.clone() else {
            return self.look(session).await;
        };
        let token = self.book.token();
        let statement = if rng.bool() {
            "SELECT qsessions.save_session($1, jsonb_build_object('token', $2::bigint))"
        } else {
            "SELECT qsessions.patch_session($1, jsonb_build_object('token', $2::bigint))"
        };
        let start = SystemTime::now();
        match self.change(statement, &[&key, &token]).await? {
            Ended::Row(row) => {
                let version = row.get(0);
                lock(session).fact = Fact { version, token };
                self.found(session, start);
                self.look(session).await?;
            }
            Ended::NotFound => self.not_found(session).await?,
            Ended::Unknown => {
                let mut session = lock(session);
                let version = session.fact.version + 1;
                session.maybe = Some(Fact { version, token });
                session.may_be_visited(SystemTime::now());
            }
            Ended::Refused => {}
        }
        Ok(())
    }

    async fn resume(&mut self, session: &Mutex<Session>) -> Result<()> {
        let Some(key) = lock(session).key.clone() else {
            return self.look(session).await;
        };
        let start = SystemTime::now();
        let statement = "SELECT FROM qsessions.resume_session($1)";
        match self.change(statement, &[&key]).await? {
            Ended::Row(_) => {
                self.found(session, start);
                self.look(session).await?;
            }
            Ended::NotFound => self.not_found(session).await?,
            Ended::Unknown => lock(session).may_be_visited(SystemTime::now()),
            Ended::Refused => {}
        }
        Ok(())
    }

    /// Changes a fixed expiry.
    async fn set_expiry(&mut self, session: &Mutex<Session>, rng: &mut Rng) -> Result<()> {
        let (key, idle) = {
            let session = lock(session);
            (session.key.clone(), session.idle)
        };
        let (Some(key), None) = (key, idle) else {
            return self.look(session).await;
        };
        let ttl = Duration::from_millis(rng.u64(50..5_000));
        let start = SystemTime::now();
        let statement = "SELECT qsessions.set_expiry($1, ttl => make_interval(secs => $2))";
        match self.change(statement, &[&key, &ttl.as_secs_f64()]).await? {
            Ended::Row(row) => {
                self.found(session, start);
                let mut session = lock(session);
                (session.low, session.high) = (row.get(0), row.get(0));
            }
            Ended::NotFound => self.not_found(session).await?,
            Ended::Unknown => {
                let mut session = lock(session);
                session.low = session.low.min(start + ttl);
                session.high = session.high.max(SystemTime::now() + ttl);
            }
            Ended::Refused => {}
        }
        Ok(())
    }

    async fn rotate(&mut self, session: &Mutex<Session>) -> Result<()> {
        let Some(key) = lock(session).key.clone() else {
            return self.look(session).await;
        };
        let start = SystemTime::now();
        let statement = "SELECT qsessions.rotate_key($1)";
        match self.change(statement, &[&key]).await? {
            Ended::Row(row) => {
                self.found(session, start);
                lock(session).key = Some(row.get(0));
                self.look(session).await?;
            }
            Ended::NotFound => self.not_found(session).await?,
            // Only its id is certain.
            Ended::Unknown => {
                let mut session = lock(session);
                session.key = None;
                session.may_be_visited(SystemTime::now());
            }
            Ended::Refused => {}
        }
        Ok(())
    }

    /// Logs a session out, or revokes it.
    async fn end(&mut self, session: &Mutex<Session>, is_logout: bool) -> Result<()> {
        let (id, key) = {
            let session = lock(session);
            (session.id, session.key.clone())
        };
        let start = SystemTime::now();
        let ended = match key.filter(|_| is_logout) {
            Some(key) => self.change("SELECT qsessions.logout($1)", &[&key]).await?,
            None => {
                let statement = "SELECT qsessions.revoke_session($1)";
                self.change(statement, &[&id]).await?
            }
        };
        match ended {
            Ended::Row(row) => {
                let mut session = lock(session);
                let result = if row.get(0) {
                    session.found(start)
                } else {
                    session.not_found(SystemTime::now()).map(drop)
                };
                self.book.check(result);
                // The row is gone, also one that had expired.
                session.life = Life::Ended;
                self.book.count(|counts| counts.ended += 1);
            }
            Ended::Unknown => {
                let mut session = lock(session);
                if session.life == Life::Live {
                    session.life = Life::MaybeEnded;
                }
            }
            Ended::NotFound | Ended::Refused => {}
        }
        Ok(())
    }

    /// Ends all sessions of the user, also those whose creation was not confirmed.
    async fn end_all(&mut self) -> Result<()> {
        let statement = "SELECT qsessions.revoke_user_sessions($1::bigint)";
        let user = self.user;
        let ended = self.change(statement, &[&user]).await?;
        let life = match ended {
            Ended::Row(_) => Life::Ended,
            Ended::Unknown => Life::MaybeEnded,
            Ended::NotFound | Ended::Refused => return Ok(()),
        };
        for session in &self.own {
            let mut session = lock(session);
            match session.life {
                Life::Live | Life::MaybeEnded => session.life = life,
                Life::Ended | Life::Expired => {}
            }
        }
        Ok(())
    }

    /// Reads the row, which makes certain what was not.
    async fn look(&mut self, session: &Mutex<Session>) -> Result<()> {
        let (id, key) = {
            let session = lock(session);
            (session.id, session.key.clone())
        };
        let start = SystemTime::now();
        let ended = self
            .call(
                "SELECT version, (data->>'token')::bigint, expires_at, expires_at > now(),
                        digest = sha256(convert_to($2, 'UTF8'))
                 FROM qsessions.session WHERE id = $1",
                &[&id, &key],
            )
            .await?;
        match ended {
            Ended::Row(row) => {
                let (is_live, expires_at): (bool, SystemTime) = (row.get(3), row.get(2));
                {
                    let mut session = lock(session);
                    let (version, token) = (row.get(0), row.get(1));
                    self.book.check(session.read(Fact { version, token }));
                    if row.get::<_, Option<bool>>(4) == Some(false) {
                        self.book.violation(format!("{id} has another key"));
                    }
                    if is_live {
                        self.book.check(session.found(start));
                        // From here on, it can only get later by visits.
                        session.low = expires_at;
                        session.high = match session.idle {
                            Some(_) => session.high.max(expires_at),
                            None => expires_at,
                        };
                    }
                }
                if !is_live {
                    self.not_found(session).await?;
                }
            }
            Ended::NotFound => {
                let result = lock(session).gone(SystemTime::now());
                self.book.check(result);
            }
            Ended::Unknown | Ended::Refused => {}
        }
        Ok(())
    }

    /// Loads or resumes a session that is dead.
    async fn look_at_dead(&mut self, rng: &mut Rng) -> Result<()> {
        if self.dead.is_empty() {
            return Ok(());
        }
        let session = Arc::clone(&self.dead[rng.usize(..self.dead.len())]);
        let Some(key) = lock(&session).key.clone() else {
            return Ok(());
        };
        let statement = match rng.u32(0..3) {
            0 => "SELECT FROM qsessions.load_session($1)",
            1 => "SELECT FROM qsessions.resume_session($1)",
            _ => "SELECT qsessions.save_session($1, '{\"token\": 0}')",
        };
        let start = SystemTime::now();
        match self.call(statement, &[&key]).await? {
            Ended::Row(_) => self.book.check(lock(&session).found(start)),
            Ended::NotFound => self.book.count(|counts| counts.looked_at_dead += 1),
            Ended::Unknown | Ended::Refused => {}
        }
        Ok(())
    }
}

//! The private copies of GeoIP files when the process that makes them dies, the disk is full, or
//! the cluster is backed up, rewound, checked or followed by a standby.

use crate::common::mmdb::{self, Ground, KNOWN, location, reload, set_path, until, until_location};
use crate::common::{row, skipped};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use qsessions_testkit::{Server, StopMode};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio_postgres::Client;

const OLD: Option<&str> = Some("Linköping, Sweden");

/// The number of networks in a file whose import takes long enough for the tests to interrupt it.
const NETWORKS: u32 = 20_000;

/// A server without the worker, and a small file that is imported.
async fn ground() -> (Ground, Client) {
    let ground = Ground::new().await;
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    let client = ground.client().await;
    assert_eq!(reload(&client).await, [None]);
    assert_eq!(location(&client, KNOWN).await.as_deref(), OLD);
    (ground, client)
}

/// The path of the copy that a process has begun.
fn half_of(ground: &Ground, process: i32) -> PathBuf {
    let name = format!("pgsql_tmp_new_{process}.mmdb");
    ground.copies().join(name)
}

/// The result of a call of `geoip_reload`.
type Reloaded = Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>;

/// Starts the import of a large file, and returns the process id of the backend while it is
/// running.
async fn copier(ground: &Ground) -> (Pid, tokio::task::JoinHandle<Reloaded>) {
    let client = ground.client().await;
    let process: i32 = row(&client, "SELECT pg_backend_pid()", &[]).await.get(0);
    let new = half_of(ground, process);
    let task = tokio::spawn(async move {
        client
            .query("SELECT FROM qsessions.geoip_reload()", &[])
            .await
    });
    while !new.exists() {
        assert!(
            !task.is_finished(),
            "the copy was made before it could be met"
        );
        tokio::task::yield_now().await;
    }
    (Pid::from_raw(process), task)
}

#[tokio::test]
async fn an_import_that_is_killed_leaves_nothing_behind() {
    let (mut ground, client) = ground().await;

    // SIGTERM ends the import at once, and the next import starts from the beginning.
    ground.swap("city.mmdb", &mmdb::cities("City", NETWORKS));
    let (process, task) = copier(&ground).await;
    kill(process, Signal::SIGTERM).unwrap();
    task.await.unwrap().unwrap_err();
    // The kernel releases the lock when the process exits, which is after the server's views stop
    // showing it.
    while kill(process, None).is_ok() {
        tokio::task::yield_now().await;
    }
    let half_done = half_of(&ground, process.as_raw());
    assert!(half_done.exists());
    assert_eq!(reload(&client).await, [None]);
    let city = location(&client, "1.0.7.1").await;
    assert_eq!(city.as_deref(), Some("City 7, Sweden"));
    assert!(!half_done.exists());
    ground.survived("a copier ended by SIGTERM", 1).await;

    ground.swap("city.mmdb", &mmdb::cities("Town", NETWORKS));
    // After a SIGKILL of any process, PostgreSQL ends all others and recovers. Afterwards the lock
    // must be free, the old copy must be complete, and the next import must remove the incomplete
    // copy.
    let (process, task) = copier(&ground).await;
    kill(process, Signal::SIGKILL).unwrap();
    task.await.unwrap().unwrap_err();
    ground.expect_crash().await;
    let half_done = half_of(&ground, process.as_raw());
    assert!(half_done.exists());
    let client = ground.client().await;
    let city = location(&client, "1.0.7.1").await;
    assert_eq!(city.as_deref(), Some("City 7, Sweden"));
    assert_eq!(reload(&client).await, [None]);
    let city = location(&client, "1.0.7.1").await;
    assert_eq!(city.as_deref(), Some("Town 7, Sweden"));
    assert!(!half_done.exists());
    assert_eq!(ground.copy_names().len(), 1);
    let log = ground.log();
    assert_eq!(log.matches("was terminated by signal 9").count(), 1);
    ground.survived("a copier ended by SIGKILL", 1).await;
}

#[tokio::test]
async fn a_reload_that_is_cancelled_ends_without_a_copy() {
    let (ground, client) = ground().await;
    ground.swap("city.mmdb", &mmdb::cities("City", NETWORKS));
    let (process, task) = copier(&ground).await;
    // A statement_timeout does the same.
    kill(process, Signal::SIGINT).unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");
    // The import has not continued, and has removed its incomplete copy.
    let imported = ground.log().matches("imported GeoIP database").count();
    assert_eq!(imported, 1);
    assert!(!half_of(&ground, process.as_raw()).exists());
    assert_eq!(location(&client, KNOWN).await.as_deref(), OLD);
    // The lock is free.
    assert_eq!(reload(&client).await, [None]);
    let city = location(&client, "1.0.7.1").await;
    assert_eq!(city.as_deref(), Some("City 7, Sweden"));
    ground.survived("a reload that was cancelled", 1).await;
}

#[tokio::test]
async fn a_reload_that_waits_for_another_one_can_be_cancelled() {
    let (ground, client) = ground().await;
    ground.swap("city.mmdb", &mmdb::cities("City", NETWORKS));
    let (process, task) = copier(&ground).await;
    kill(process, Signal::SIGSTOP).unwrap();
    client
        .batch_execute("SET statement_timeout = '20ms'")
        .await
        .unwrap();
    let call = "SELECT FROM qsessions.geoip_reload()";
    let error = client.query(call, &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");
    kill(process, Signal::SIGCONT).unwrap();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn other_connections_use_the_old_copy_during_an_import() {
    let (ground, client) = ground().await;
    ground.swap("city.mmdb", &mmdb::cities("City", NETWORKS));
    let (process, task) = copier(&ground).await;
    kill(process, Signal::SIGSTOP).unwrap();
    for client in [&client, &ground.client().await] {
        assert_eq!(location(client, KNOWN).await.as_deref(), OLD);
        assert_eq!(location(client, "1.0.7.1").await, None);
    }
    kill(process, Signal::SIGCONT).unwrap();
    task.await.unwrap().unwrap();
    until_location(&client, "1.0.7.1", "City 7, Sweden").await;
    assert_eq!(location(&client, KNOWN).await, None);
}

/// A small disk at a path, which is unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts the disk. If this process cannot mount, prints a line and returns `None`.
    fn at(path: &Path) -> Option<Self> {
        let owner = if geteuid().is_root() {
            let name = std::env::var("QSESSIONS_RUN_AS").unwrap_or_else(|_| "postgres".to_owned());
            let user = User::from_name(&name).unwrap().unwrap();
            format!(",uid={},gid={}", user.uid, user.gid)
        } else {
            String::new()
        };
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size=256k,mode=700{owner}"),
                "tmpfs",
            ])
            .arg(path)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path.to_owned()));
        }
        skipped("nothing can be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount, because backends have mapped files on the disk.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn with_a_full_disk_the_old_copy_stays_in_use() {
    let ground = Ground::new().await;
    let Some(disk) = SmallDisk::at(&ground.copies()) else {
        return;
    };
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    let client = ground.client().await;
    assert_eq!(reload(&client).await, [None]);
    assert_eq!(location(&client, KNOWN).await.as_deref(), OLD);
    // This one would fit, but an import leaves a tenth of the disk free.
    let nearly = (1..)
        .map(|hundreds| mmdb::cities("City", 100 * hundreds))
        .find(|bytes| bytes.len() > 225 * 1024)
        .unwrap();
    assert!(nearly.len() < 236 * 1024, "{}", nearly.len());
    ground.swap("city.mmdb", &nearly);
    let errors = reload(&client).await;
    assert!(
        errors[0].as_ref().unwrap().contains("No space left"),
        "{errors:?}"
    );
    let large = mmdb::cities("City", 5000);
    assert!(large.len() > 256 * 1024);
    ground.swap("city.mmdb", &large);
    let errors = reload(&client).await;
    assert!(
        errors[0].as_ref().unwrap().contains("No space left"),
        "{errors:?}"
    );
    assert!(ground.log().contains("Make room on the disk"));
    for client in [client, ground.client().await] {
        assert_eq!(location(&client, KNOWN).await.as_deref(), OLD);
        assert_eq!(location(&client, "1.0.7.1").await, None);
    }
    assert_eq!(ground.copy_names().len(), 1);

    // The disk is completely full, so that not even the index can be written.
    fs::write(ground.copies().join("filling"), vec![1; 4096]).unwrap();
    let mut filling = fs::OpenOptions::new()
        .append(true)
        .open(ground.copies().join("filling"))
        .unwrap();
    while filling.write_all(&[1; 4096]).is_ok() {}
    ground.swap("city.mmdb", &mmdb::city("Stockholm"));
    let client = ground.client().await;
    let errors = reload(&client).await;
    let says = |error: &Option<String>| {
        let error = error.as_ref();
        error.is_some_and(|error| error.contains("No space left"))
    };
    assert!(errors.iter().all(says), "{errors:?}");
    assert_eq!(location(&client, KNOWN).await.as_deref(), OLD);
    drop(filling);
    fs::remove_file(ground.copies().join("filling")).unwrap();
    assert_eq!(reload(&client).await, [None]);
    let city = location(&client, KNOWN).await;
    assert_eq!(city.as_deref(), Some("Stockholm, Sweden"));
    ground.survived("a full disk", 3).await;
    drop(disk);
}

#[tokio::test]
async fn without_a_folder_for_copies_locations_are_null_with_a_warning() {
    for ground in [Ground::new().await, Ground::with_worker().await] {
        ground.swap("city.mmdb", &mmdb::city("Linköping"));
        fs::write(ground.copies(), "in the way of the folder").unwrap();
        let client = ground.client().await;
        let errors = reload(&client).await;
        assert!(
            errors[0]
                .as_ref()
                .unwrap()
                .starts_with("could not keep a copy of"),
            "{errors:?}"
        );
        assert_eq!(location(&client, KNOWN).await, None);
        let log = ground.log();
        assert!(log.contains("could not keep a copy of"), "{log}");
        assert!(log.contains("HINT:  The server must be able to write to its data directory"));
        fs::remove_file(ground.copies()).unwrap();
        assert_eq!(reload(&client).await, [None]);
        assert_eq!(location(&client, KNOWN).await.as_deref(), OLD);
        ground.survived("no folder for copies", 1).await;
    }
}

#[tokio::test]
async fn a_worker_without_a_folder_for_copies_warns_once() {
    let ground = Ground::with_worker().await;
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    fs::write(ground.copies(), "in the way of the folder").unwrap();
    let client = ground.client().await;
    let error = "SELECT error FROM qsessions.geoip_databases()";
    let error: String = row(&client, error, &[]).await.get(0);
    assert!(error.starts_with("nothing was imported from"), "{error}");
    let said = "could not keep a copy of";
    until("the worker says so", async || ground.log().contains(said)).await;
    // The worker still imports the files of other paths.
    let other = ground.files.join("other.mmdb");
    set_path(&client, &other).await;
    assert_eq!(location(&client, KNOWN).await, None);
    let of_other = format!("copy of \"{}\"", other.display());
    until("it looks at the other path", async || {
        ground.log().contains(&of_other)
    })
    .await;
    let log = ground.log();
    let of_first = format!("copy of \"{}\"", ground.files.display());
    assert_eq!(log.matches(&of_first).count(), 1, "{log}");
}

/// Connects, and imports the file or waits until the worker has imported it.
async fn is_served(server: &Server) -> Client {
    let client = server.connect("postgres").await.unwrap();
    let preloaded: String = row(&client, "SHOW shared_preload_libraries", &[])
        .await
        .get(0);
    if preloaded.contains("qsessions") {
        until_location(&client, KNOWN, "Linköping, Sweden").await;
    } else {
        reload(&client).await;
        assert_eq!(location(&client, KNOWN).await.as_deref(), OLD);
    }
    client
}

#[tokio::test]
async fn backups_leave_the_copies_out_and_a_standby_makes_its_own() {
    for ground in [Ground::with_worker().await, Ground::new().await] {
        ground.swap("city.mmdb", &mmdb::city("Linköping"));
        is_served(&ground.server).await;
        let folder = ground.copies();
        let modes = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(modes(&folder), 0o700);
        assert_eq!(modes(&folder.join(&ground.copy_names()[0])), 0o400);

        let builder = Server::builder().setting("primary_conninfo", "");
        let standby = builder.start_standby_of(&ground.server).await.unwrap();
        let copies = standby.data().join("pgsql_tmp_qsessions");
        assert!(!copies.exists(), "the backup has left them out");
        let client = is_served(&standby).await;
        let recovering: bool = row(&client, "SELECT pg_is_in_recovery()", &[]).await.get(0);
        assert!(recovering && copies.exists());
    }
}

#[tokio::test]
async fn a_rewind_and_a_check_of_checksums_are_not_disturbed() {
    let ground = Ground::with(
        Server::builder()
            .setting("wal_log_hints", "on")
            .setting("full_page_writes", "on")
            .setting("wal_keep_size", "1GB"),
    )
    .await;
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    is_served(&ground.server).await;
    let standby = Server::builder()
        .start_standby_of(&ground.server)
        .await
        .unwrap();
    let client = is_served(&standby).await;
    let promoted: bool = row(&client, "SELECT pg_promote()", &[]).await.get(0);
    assert!(promoted);
    // The checkpoint also writes the commit of the table to disk: pg_rewind copies files.
    for statement in ["CREATE TABLE after_promotion ()", "CHECKPOINT"] {
        client.batch_execute(statement).await.unwrap();
    }

    let Ground {
        mut server, files, ..
    } = ground;
    // The two servers have copies of different files.
    fs::write(files.join("country.mmdb"), mmdb::networks()).unwrap();
    is_served(&server).await;
    server.stop(StopMode::Fast).unwrap();
    let data = server.data();
    let source = format!(
        "host={} user=postgres dbname=postgres",
        standby.folder().display()
    );
    let installation = server.installation().clone();
    let target = data.as_os_str();
    installation
        .run(
            "pg_rewind",
            [
                "-D".as_ref(),
                target,
                "--source-server".as_ref(),
                source.as_ref(),
                "--no-sync".as_ref(),
            ],
        )
        .unwrap();
    let sockets = format!(
        "\nunix_socket_directories = '{0}'\ncron.host = '{0}'\n",
        server.folder().display()
    );
    let conf = data.join("postgresql.conf");
    let text = fs::read_to_string(&conf).unwrap() + &sockets;
    fs::write(&conf, text).unwrap();
    server.start().await.unwrap();
    let client = is_served(&server).await;
    let rewound: bool = row(
        &client,
        "SELECT to_regclass('after_promotion') IS NOT NULL",
        &[],
    )
    .await
    .get(0);
    assert!(rewound);
    server.stop(StopMode::Fast).unwrap();
    // PostgreSQL 18 enables checksums by default.
    let modes: &[&str] = if installation.major() >= 18 {
        &["--check", "--disable", "--enable", "--check"]
    } else {
        &["--enable", "--check"]
    };
    for mode in modes {
        let arguments = [mode.as_ref(), "-D".as_ref(), target];
        installation.run("pg_checksums", arguments).unwrap();
    }
}

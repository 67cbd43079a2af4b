//! Processes that end with the process that started them, even if that one is killed.

use crate::{Error, Result};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::setsid;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

type Request = (Command, Sender<std::io::Result<Child>>);

/// Starts a program. When this process ends, the program receives SIGQUIT, which makes PostgreSQL
/// stop at once. With `outlive`, it continues, and it leaves the terminal so that Ctrl-C does not
/// reach it.
///
/// The kernel sends the signal when the *thread* that started the program ends. Tests are threads,
/// so a single thread that never ends starts all programs.
///
/// # Errors
///
/// If the program cannot be started.
pub fn spawn(mut command: Command, outlive: bool) -> Result<Child> {
    static STARTER: OnceLock<std::sync::Mutex<Sender<Request>>> = OnceLock::new();

    // SAFETY: prctl, setsid and sigaction are plain system calls, which are allowed between fork and
    // exec.
    unsafe {
        command.pre_exec(move || {
            // A shell has its background jobs ignore them, and programs inherit that.
            signal(Signal::SIGINT, SigHandler::SigDfl)?;
            signal(Signal::SIGQUIT, SigHandler::SigDfl)?;
            if outlive {
                setsid()?;
            } else {
                prctl::set_pdeathsig(Signal::SIGQUIT)?;
            }
            Ok(())
        });
    }
    let starter = STARTER.get_or_init(|| {
        let (requests, inbox) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                // The caller may have stopped waiting.
                let _ = reply.send(command.spawn());
            }
        });
        std::sync::Mutex::new(requests)
    });
    let (reply, answer) = channel();
    let gone = || Error::from("the thread that starts programs has ended");
    starter
        .lock()
        .map_err(|_| gone())?
        .send((command, reply))
        .map_err(|_| gone())?;
    Ok(answer.recv().map_err(|_| gone())??)
}

//! A server process that does not outlive the one that started it, even when that one is killed; unless it is told to.

use crate::{Error, Result};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::setsid;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

type Request = (Command, Sender<std::io::Result<Child>>);

/// Starts a program that gets SIGQUIT (for PostgreSQL: stop at once) when this process ends, unless it
/// is to outlive it; then it leaves the terminal too, whose Ctrl-C is not meant for it.
///
/// The signal comes when the *thread* that started the program ends, and tests are threads; so one thread that never ends
/// starts them all.
///
/// # Errors
///
/// When it can't be started.
pub fn spawn(mut command: Command, outlive: bool) -> Result<Child> {
    static STARTER: OnceLock<std::sync::Mutex<Sender<Request>>> = OnceLock::new();

    // SAFETY: prctl and setsid are plain system calls, which may be made between fork and exec.
    unsafe {
        command.pre_exec(move || {
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
                // Nobody waiting any more is no matter for the others.
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

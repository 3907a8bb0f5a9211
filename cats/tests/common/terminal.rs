//! A terminal for a tool, and its user.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::mpsc::{channel, Receiver};
use std::time::Instant;

use nix::pty::openpty;

use super::LIMIT;

/// The user's side of a terminal.
pub struct Terminal {
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    pub tty: OwnedFd,
}

impl Terminal {
    pub fn new() -> Terminal {
        let pty = openpty(None, None).unwrap();
        let mut screen = File::from(pty.master.try_clone().unwrap());
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                if sender.send(piece[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { keys: pty.master.into(), screen: receiver, seen: String::new(), tty: pty.slave }
    }

    pub fn stdio(&self) -> Stdio {
        self.tty.try_clone().unwrap().into()
    }

    pub fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// Waits until this text is on the screen.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        let limit = Instant::now() + LIMIT;
        while !self.seen.contains(text) {
            match self.screen.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.seen += &String::from_utf8_lossy(&piece),
                Err(error) => panic!("{error}: no {text:?} in {:?}", self.seen),
            }
        }
    }
}

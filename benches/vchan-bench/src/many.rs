//! Many channels, served by one thread at each end.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::links::Link;
use crate::memory::Buffer;
use crate::meter::{Measured, Meter};
use crate::work::{Findings, Run};
use crate::Result;

/// The channels, and which of them can be ready.
struct Set<'a, L> {
    links: &'a mut [L],
    epoll: Epoll,
    active: Vec<bool>,
    asleep: usize,
}

impl<'a, L: Link> Set<'a, L> {
    fn new(links: &'a mut [L]) -> Result<Set<'a, L>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (n, link) in links.iter_mut().enumerate() {
            link.set_nonblocking()?;
            epoll.add(link.fd()?, EpollEvent::new(EpollFlags::EPOLLIN, n as u64))?;
        }
        let active = vec![true; links.len()];
        Ok(Set { links, epoll, active, asleep: 0 })
    }

    /// Marks a channel as blocked until its descriptor is readable.
    fn sleep(&mut self, n: usize) {
        self.active[n] = false;
        self.asleep += 1;
    }

    /// Finds the channels that can continue; waits for one if none is active.
    fn wake(&mut self) -> Result<()> {
        if self.asleep == 0 {
            return Ok(());
        }
        let all = self.asleep == self.links.len();
        let timeout = if all { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        let mut events = [EpollEvent::empty(); 64];
        let count = self.epoll.wait(&mut events, timeout)?;
        for event in &events[..count] {
            let n = event.data() as usize;
            self.links[n].acknowledge()?;
            if !std::mem::replace(&mut self.active[n], true) {
                self.asleep -= 1;
            }
        }
        Ok(())
    }
}

fn findings(measured: Measured) -> Findings {
    vec![("rate".into(), measured.units as f64 / measured.seconds)]
}

/// Writes to all channels in turn.
pub fn write(run: &Run, links: &mut [impl Link], size: usize) -> Result<Findings> {
    let data = Buffer::new(size);
    let mut set = Set::new(links)?;
    let mut done = vec![0; set.links.len()];
    let mut sent = 0;
    let mut meter = Meter::start(run.length)?;
    while !meter.tick(sent)? {
        for (n, done) in done.iter_mut().enumerate() {
            if !set.active[n] {
                continue;
            }
            let count = set.links[n].try_write(&data.get()[*done..])?;
            if count == 0 {
                set.sleep(n);
            }
            sent += count as u64;
            *done = (*done + count) % size;
        }
        set.wake()?;
    }
    let measured = meter.finish(sent)?;
    // Each channel finishes its current piece; one writes another piece, so that the reader gets more.
    let rest: usize = done.iter().map(|done| (size - done) % size).sum();
    run.control.finish(0, sent + (rest + size) as u64);
    for (n, &done) in done.iter().enumerate() {
        if done > 0 {
            write_rest(&mut set.links[n], &data.get()[done..])?;
        }
    }
    write_rest(&mut set.links[0], data.get())?;
    Ok(findings(measured))
}

fn write_rest(link: &mut impl Link, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        match link.try_write(data)? {
            0 => link.wait(false, true)?,
            count => data = &data[count..],
        }
    }
    Ok(())
}

/// Reads from all channels.
pub fn read(run: &Run, links: &mut [impl Link], size: usize) -> Result<Findings> {
    let mut buffer = Buffer::new(size);
    let mut set = Set::new(links)?;
    let mut got = 0;
    let mut meter = Meter::start(run.length)?;
    loop {
        for n in 0..set.links.len() {
            if !set.active[n] {
                continue;
            }
            let count = set.links[n].try_read(buffer.get_mut())?;
            if count == 0 {
                set.sleep(n);
            }
            got += count as u64;
            if run.control.is_all(0, got) {
                return Ok(findings(meter.finish(got)?));
            }
        }
        meter.tick(got)?;
        set.wake()?;
    }
}

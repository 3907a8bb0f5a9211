//! The measured loops, the same for all peers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::control::{Control, Direction};
use crate::links::Link;
use crate::memory::Buffer;
use crate::meter::{Measured, Meter};
use crate::plan::PING;
use crate::stats::percentile;
use crate::Result;

/// The maximum number of bytes between two checks of the clock.
const STRIDE: usize = 65536;
/// The maximum number of recorded round trips.
const SAMPLES: usize = 4 << 20;

/// The points of the latency curve, as parts of all round trips.
pub const CURVE: [f64; 12] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999];

/// The parameters of all loops.
pub struct Run {
    /// The duration.
    pub length: Duration,
    /// The page for the totals.
    pub control: Control,
}

/// The results of a loop: names and numbers.
pub type Findings = Vec<(String, f64)>;

fn findings(measured: Measured) -> Findings {
    let units = measured.units as f64;
    [
        ("rate", units / measured.seconds),
        ("cpu", measured.usage.cpu() / units),
        ("sleeps", measured.usage.sleeps() / units),
        ("notifications", measured.usage.notifications() / units),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Writes, in direction 0.
pub fn write_stream(run: &Run, link: &mut impl Link, size: usize) -> Result<Findings> {
    let data = Buffer::new(size);
    let stride = (STRIDE / size).max(1);
    let mut sent = 0;
    let mut meter = Meter::start(run.length)?;
    while !meter.tick(sent)? {
        link.write_times(data.get(), stride)?;
        sent += (stride * size) as u64;
    }
    let measured = meter.finish(sent)?;
    run.control.finish(0, sent + size as u64);
    link.write_all(data.get())?;
    Ok(findings(measured))
}

/// Reads, in direction 0.
pub fn read_stream(run: &Run, link: &mut impl Link, size: usize) -> Result<Findings> {
    let mut buffer = Buffer::new(size);
    let stride = (STRIDE / size).max(1);
    let mut got = 0;
    let mut meter = Meter::start(run.length)?;
    loop {
        let due = got + (stride * size) as u64;
        while got < due {
            got += link.read_times(buffer.get_mut(), stride)? as u64;
            if run.control.is_all(0, got) {
                return Ok(findings(meter.finish(got)?));
            }
        }
        meter.tick(got)?;
    }
}

/// Writes and reads in turn, without blocking; the bytes read are counted.
pub fn both_ways(run: &Run, link: &mut impl Link, size: usize, writes: Direction) -> Result<Findings> {
    let data = Buffer::new(size);
    let mut buffer = Buffer::new(size);
    let (mut sent, mut got, mut looked_at) = (0u64, 0u64, 0u64);
    // How much of the current piece is written, unless it is complete; whether it is the last one.
    let (mut piece, mut last) = (Some(0), false);
    let mut all_read = None;
    link.set_nonblocking()?;
    let mut meter = Some(Meter::start(run.length)?);
    let mut late = false;
    while piece.is_some() || all_read.is_none() {
        let mut moved = 0;
        if let Some(done) = piece {
            moved += link.try_write(&data.get()[done..])?;
            piece = Some(done + moved);
            if done + moved == size {
                sent += size as u64;
                piece = (!last).then_some(0);
                if late && !last {
                    last = true;
                    run.control.finish(writes, sent + size as u64);
                }
            }
        }
        if all_read.is_none() {
            let count = link.try_read(buffer.get_mut())?;
            moved += count;
            got += count as u64;
            if run.control.is_all(1 - writes, got) {
                let meter = meter.take().ok_or("read on after the end")?;
                all_read = Some(meter.finish(got)?);
                late = true;
            }
        }
        if moved == 0 {
            link.wait(all_read.is_none(), piece.is_some())?;
        }
        if moved == 0 || sent + got - looked_at >= STRIDE as u64 {
            looked_at = sent + got;
            if let Some(meter) = &mut meter {
                late = meter.tick(got)?;
            }
        }
    }
    all_read.map(findings).ok_or_else(|| "nothing was read".into())
}

/// Sends messages and waits for each answer.
pub fn ping(run: &Run, link: &mut impl Link, think: Duration) -> Result<Findings> {
    let mut message = [1; PING];
    // Written once, so that its pages are allocated.
    let mut samples = vec![1u32; SAMPLES];
    let mut count = 0;
    let mut sent = 0;
    let mut meter = Meter::start(run.length)?;
    let mut begun = Instant::now();
    loop {
        while begun.elapsed() < think {}
        if !think.is_zero() {
            begun = Instant::now();
        }
        link.write_all(&message)?;
        link.read_exact(&mut message)?;
        let now = Instant::now();
        sent += 1;
        if meter.counts() && count < SAMPLES {
            samples[count] = u32::try_from((now - begun).as_nanos()).unwrap_or(u32::MAX);
            count += 1;
        }
        let counted = meter.counts();
        // On a busy machine, none may have been counted in time.
        if meter.tick_at(now, sent)? && count > 0 {
            break;
        }
        // Starting to count takes longer than a message.
        begun = if meter.counts() == counted { now } else { Instant::now() };
    }
    let measured = meter.finish(sent)?;
    run.control.finish(0, (sent + 1) * PING as u64);
    link.write_all(&message)?;
    link.read_exact(&mut message)?;

    let samples = &mut samples[..count];
    samples.sort_unstable();
    let mean = samples.iter().map(|&ns| f64::from(ns)).sum::<f64>() / count as f64;
    let mut found = findings(measured);
    found.push(("mean".into(), mean));
    for part in CURVE {
        let value = percentile(samples, part).ok_or("no round trip in time")?;
        found.push((curve_name(part), value.into()));
    }
    Ok(found)
}

/// The name of a point of the curve.
pub fn curve_name(part: f64) -> String {
    format!("p{}", part * 100.0)
}

/// Answers messages.
pub fn echo(run: &Run, link: &mut impl Link) -> Result<Findings> {
    let mut message = [0; PING];
    let mut got = 0;
    let mut meter = Meter::start(run.length)?;
    loop {
        link.read_exact(&mut message)?;
        link.write_all(&message)?;
        got += 1;
        if run.control.is_all(0, got * PING as u64) {
            return Ok(findings(meter.finish(got)?));
        }
        if !meter.counts() {
            meter.tick(got)?;
        }
    }
}

/// Copies within this process, over a ring's size.
pub fn copy(run: &Run, size: usize, ring: usize) -> Result<Findings> {
    let data = Buffer::new(size);
    let mut target = Buffer::new(ring.max(size));
    let stride = (STRIDE / size).max(1);
    let (mut done, mut at) = (0, 0);
    let mut meter = Meter::start(run.length)?;
    while !meter.tick(done)? {
        for _ in 0..stride {
            target.get_mut()[at..at + size].copy_from_slice(black_box(data.get()));
            black_box(&mut target);
            at = if at + 2 * size > ring { 0 } else { at + size };
        }
        done += (stride * size) as u64;
    }
    Ok(findings(meter.finish(done)?))
}

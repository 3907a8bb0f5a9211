//! The machine of the measurements.

use std::fs;
use std::path::Path;

use nix::sched::{sched_getaffinity, CpuSet};
use nix::sys::utsname::uname;
use nix::unistd::Pid;

use crate::stats::{summary, Summary};
use crate::table::number;
use crate::Result;

/// The processors that this process can use.
fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

fn siblings(cpu: usize) -> String {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    fs::read_to_string(path).unwrap_or_else(|_| cpu.to_string())
}

/// Two processors, on two cores if possible. Fails if there is only one.
pub fn two_cpus() -> Result<[usize; 2]> {
    let cpus = allowed()?;
    let (&first, rest) = cpus.split_first().ok_or("no processor is allowed")?;
    let own = siblings(first);
    let second = rest.iter().find(|&&cpu| siblings(cpu) != own).or(rest.first());
    Ok([first, *second.ok_or("two processors are needed, and this process may use only one")?])
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A description of machine and run.
pub fn describe(cpus: [usize; 2], rounds: usize, millis: u128, awake: bool, xen_library: &Path) -> String {
    let name = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let count = fs::read_to_string("/proc/cpuinfo").map_or(0, |text| text.matches("processor\t").count());
    let guest = field("/proc/cpuinfo", "flags").is_some_and(|flags| flags.contains(" hypervisor"));
    let kernel =
        uname().map_or_else(|_| "unknown".into(), |name| name.release().to_string_lossy().into_owned());
    let place = if guest { ", a virtual machine" } else { "" };
    let idle = if awake { "idle processors are kept awake" } else { "idle processors may halt" };
    format!(
        "{name}, {count} processors{place}, Linux {kernel}; processors {} and {}, {idle}; {rounds} rounds of {millis} ms \
         for each cell; vchan-rs {}, Xen's library is {}.",
        cpus[0],
        cpus[1],
        env!("CARGO_PKG_VERSION"),
        xen_library.file_name().unwrap_or_default().to_string_lossy(),
    )
}

/// Below this round trip in microseconds, processors count as near.
const NEAR: f64 = 0.35;

/// The distance of the processors before each cell.
pub fn describe_distances(round_trips: &[f64]) -> String {
    let Some(Summary { min, max, .. }) = summary(round_trips) else { return String::new() };
    let near = round_trips.iter().filter(|&&value| value < NEAR).count();
    format!(
        "\n\nThe bare ring's round trip, just before each cell: {} to {} µs; below {NEAR} µs before {near} of {} cells and rounds.",
        number(min),
        number(max),
        round_trips.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(describe_distances(&[]), "");
        let text = describe_distances(&[0.13, 0.7, 0.12]);
        assert!(text.contains("0.12 to 0.70 µs") && text.contains("before 2 of 3"), "{text}");
    }
}

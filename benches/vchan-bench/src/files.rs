//! A file transferred by `unixcat`, compared with the same file through a pipe.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::stats::{summary, Summary};
use crate::table::{bytes, ratio, spread, Table};
use crate::Result;

/// Ring sizes for `unixcat`.
const RINGS: [usize; 2] = [64 << 10, 1 << 20];

/// A way from one file to another.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// `cat f | cat > g`.
    Pipe,
    /// `unixcat < f` to `unixcat > g`.
    Files(usize),
    /// `cat f | unixcat` to `unixcat | cat > g`.
    Pipes(usize),
}

impl Way {
    fn all() -> Vec<Way> {
        let rings = RINGS.iter().flat_map(|&ring| [Way::Files(ring), Way::Pipes(ring)]);
        std::iter::once(Way::Pipe).chain(rings).collect()
    }

    fn title(self) -> String {
        match self {
            Way::Pipe => "`cat f \\| cat > g`".into(),
            Way::Files(ring) => format!("`unixcat < f`, `unixcat > g`, rings of {}", bytes(ring)),
            Way::Pipes(ring) => {
                format!("`cat f \\| unixcat`, `unixcat \\| cat > g`, rings of {}", bytes(ring))
            }
        }
    }
}

/// The files of the measurement.
pub struct Files {
    unixcat: PathBuf,
    dir: tempfile::TempDir,
    size: usize,
}

impl Files {
    /// For files of `size` bytes, in memory if possible.
    pub fn new(unixcat: PathBuf, size: usize) -> Result<Files> {
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm)? } else { tempfile::tempdir()? };
        let block: Vec<u8> =
            (0..1u32 << 18).flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
        for name in ["f", "g"] {
            let mut file = File::create(dir.path().join(name))?;
            for _ in 0..size / block.len() {
                file.write_all(&block)?;
            }
        }
        Ok(Files { unixcat, dir, size: size / block.len() * block.len() })
    }

    /// Transfers it in all ways, in turn; returns a Markdown table.
    pub fn measure(&self, rounds: usize) -> Result<String> {
        let ways = Way::all();
        let mut rates = vec![Vec::new(); ways.len()];
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: a file of {}", bytes(self.size));
            for (way, rates) in ways.iter().zip(&mut rates) {
                rates.push(self.rate(*way)?);
            }
        }
        let summaries: Vec<Option<Summary>> = rates.iter().map(|rates| summary(rates)).collect();
        let mut table = Table::new(["a file, in memory", "GiB/s", "× the pipe"]);
        for (way, value) in ways.iter().zip(&summaries) {
            let times = value.zip(summaries[0]).map(|(value, pipe)| ratio(value.median / pipe.median));
            table.row(&[&way.title()], vec![value.map(spread), times]);
        }
        Ok(table.markdown())
    }

    fn rate(&self, way: Way) -> Result<f64> {
        let (old, new) = (self.dir.path().join("f"), self.dir.path().join("g"));
        // Overwritten: allocating pages for a new file can take longer than the transfer.
        let target = OpenOptions::new().read(true).write(true).open(&new)?;
        let (mut end, at) = ([0; 64], self.size as u64 - 64);
        target.write_all_at(&end, at)?;
        let result = target.try_clone()?;
        let begun = Instant::now();
        let children = match way {
            Way::Pipe => {
                let mut source = spawn(Command::new("cat").arg(&old), Stdio::null(), Stdio::piped())?;
                let sink = spawn(&mut Command::new("cat"), output(&mut source)?.into(), target.into())?;
                vec![source, sink]
            }
            Way::Files(ring) => {
                let server = spawn(&mut self.unixcat("-l", ring), Stdio::null(), target.into())?;
                let source = File::open(&old)?;
                vec![server, spawn(&mut self.unixcat("--wait", ring), source.into(), Stdio::null())?]
            }
            Way::Pipes(ring) => {
                let mut server = spawn(&mut self.unixcat("-l", ring), Stdio::null(), Stdio::piped())?;
                let sink = spawn(&mut Command::new("cat"), output(&mut server)?.into(), target.into())?;
                let mut source = spawn(Command::new("cat").arg(&old), Stdio::null(), Stdio::piped())?;
                let client =
                    spawn(&mut self.unixcat("--wait", ring), output(&mut source)?.into(), Stdio::null())?;
                vec![server, sink, source, client]
            }
        };
        for mut child in children {
            if !child.wait()?.success() {
                return Err(format!("{}: a process failed", way.title()).into());
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        result.read_exact_at(&mut end, at)?;
        if end == [0; 64] {
            return Err(format!("{}: not everything arrived", way.title()).into());
        }
        Ok(self.size as f64 / f64::from(1 << 30) / seconds)
    }

    fn unixcat(&self, end: &str, ring: usize) -> Command {
        let mut command = Command::new(&self.unixcat);
        let direction = if end == "-l" { "--recv-only" } else { "--send-only" };
        command.env("XEN_ROOT", self.dir.path().join("root")).args(["-q", end, direction]);
        command.args(["--buffer-size", &ring.to_string(), "0", "file"]).stderr(Stdio::inherit());
        command
    }
}

fn spawn(command: &mut Command, input: Stdio, output: Stdio) -> Result<Child> {
    Ok(command.stdin(input).stdout(output).spawn()?)
}

fn output(child: &mut Child) -> Result<ChildStdout> {
    child.stdout.take().ok_or_else(|| "no standard output".into())
}

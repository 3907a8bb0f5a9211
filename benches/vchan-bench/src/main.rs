//! `vchan-bench`: compares this library, Xen's, pipes and sockets in one run.
//!
//! Every measurement has two fresh, pinned processes (`worker.rs`); rounds go over all peers of a cell in
//! turn, so that slow phases of the machine affect all of them. See `docs/performance.md`.

mod control;
mod count;
mod document;
mod files;
mod links;
mod machine;
mod many;
mod mechanism;
mod memory;
mod meter;
mod peer;
mod plan;
mod report;
mod results;
mod run;
mod shim_transport;
mod stats;
mod svg;
mod table;
mod work;
mod worker;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::files::Files;
use crate::mechanism::Mechanism;
use crate::peer::Peer;
use crate::plan::Cell;
use crate::results::Results;
use crate::run::Runner;

/// Any error.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Compares vchan-rs with Xen's libxenvchan, pipes, sockets and an upper bound for shared memory.
///
/// Prints Markdown tables.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// A few cells, short measurements: under a minute
    #[arg(long)]
    quick: bool,
    /// Rounds per cell [default: 5, with --quick 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Duration of each measurement [default: 250, with --quick 100]
    #[arg(long)]
    millis: Option<u64>,
    /// Only these peers
    #[arg(long, value_delimiter = ',', value_name = "PEER,…")]
    only: Vec<Peer>,
    /// Only matching cells: work/cores/ring/size, empty fields match all; see --list; `files` for unixcat
    #[arg(long, value_delimiter = ',', value_name = "CELL,…")]
    cells: Vec<String>,
    /// Write the tables into DIR/performance.md and the plots beside it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// List the cells and their peers without measuring
    #[arg(long)]
    list: bool,
    /// The two processors [default: the first two cores]
    #[arg(long, value_delimiter = ',', num_args = 2, value_name = "A,B")]
    cpus: Vec<usize>,
    /// Prevent idle processors from halting meanwhile (root)
    #[arg(long)]
    awake: bool,
    /// libvchan_rs.so [default: beside this program]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Xen's library
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/x86_64-linux-gnu/libxenvchan.so.4.17")]
    xen_library: PathBuf,
    /// libxenshim.so
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests-c/build/libxenshim.so"))]
    shim: PathBuf,
    /// Also measure an earlier build, in turn with this one: the directory of its vchan-bench and libvchan_rs.so
    #[arg(long, value_name = "DIR")]
    before: Option<PathBuf>,
    /// Also measure this build without one mechanism of waiting, each in turn with the complete build
    #[arg(long, value_delimiter = ',', value_name = "MECHANISM,…", conflicts_with = "before")]
    without: Vec<Mechanism>,
    #[command(subcommand)]
    command: Option<Internal>,
}

#[derive(Subcommand)]
enum Internal {
    /// One of the processes of a measurement
    #[command(hide = true)]
    Worker(worker::Task),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.command {
        Some(Internal::Worker(task)) => worker::work(task)
            .map(|()| true)
            .map_err(|error| format!("{} {}: {error}", task.peer.key(), task.cell).into()),
        None => bench(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vchan-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn runner(&self) -> Result<Runner> {
        let beside = || Ok(std::env::current_exe()?.with_file_name("libvchan_rs.so"));
        let millis = self.millis.unwrap_or(if self.quick { 100 } else { 250 });
        Ok(Runner {
            program: std::env::current_exe()?,
            own_library: self.library.clone().map_or_else(beside, Result::Ok)?,
            xen_library: self.xen_library.clone(),
            shim: fs::canonicalize(&self.shim).unwrap_or_else(|_| self.shim.clone()),
            cpus: match self.cpus[..] {
                [a, b] => [a, b],
                _ => machine::two_cpus()?,
            },
            length: Duration::from_millis(millis.max(10)),
            without: None,
        })
    }

    /// As `runner`, for the earlier build.
    fn runner_before(&self, runner: &Runner) -> Result<Option<Runner>> {
        let Some(dir) = &self.before else { return Ok(None) };
        let file = |name| {
            let path = dir.join(name);
            path.is_file()
                .then_some(path)
                .ok_or_else(|| format!("--before {}: no {name} there", dir.display()))
        };
        let (program, own_library) = (file("vchan-bench")?, file("libvchan_rs.so")?);
        Ok(Some(Runner { program, own_library, ..runner.clone() }))
    }

    /// The builds that `runner` is compared with.
    fn others(&self, runner: &Runner) -> Result<Vec<Runner>> {
        let without = |mechanism: &Mechanism| Runner { without: Some(*mechanism), ..runner.clone() };
        Ok(self.runner_before(runner)?.into_iter().chain(self.without.iter().map(without)).collect())
    }

    fn unixcat(&self) -> Result<PathBuf> {
        let unixcat = std::env::current_exe()?.with_file_name("unixcat");
        if !unixcat.is_file() {
            return Err(format!("{} does not exist; build vchan-cats", unixcat.display()).into());
        }
        Ok(unixcat)
    }

    /// Whether `unixcat` is measured: unless other cells were requested.
    fn files(&self) -> bool {
        self.only.is_empty() && (self.cells.is_empty() || self.cells.iter().any(|cell| cell == "files"))
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }

    fn cells(&self) -> Vec<Cell> {
        let all = if self.quick { plan::quick() } else { plan::full() };
        let wanted =
            |cell: &Cell| self.cells.is_empty() || self.cells.iter().any(|text| plan::fits(text, cell));
        all.into_iter().filter(wanted).collect()
    }

    fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &&Peer| self.only.is_empty() || self.only.contains(peer);
        Peer::all().iter().filter(wanted).copied().collect()
    }
}

/// Measures, prints and writes. Returns whether every measurement succeeded.
fn bench(options: &Options) -> Result<bool> {
    let (cells, mut peers) = (options.cells(), options.peers());
    if options.list {
        for cell in &cells {
            let keys: Vec<String> =
                peers.iter().filter(|peer| peer.supports(cell)).map(|peer| peer.key()).collect();
            println!("{cell}  {}", keys.join(" "));
        }
        return Ok(true);
    }
    let runner = options.runner()?;
    let others = options.others(&runner)?;
    peers.retain(|&peer| {
        let missing = runner.missing(peer);
        missing.iter().for_each(|why| eprintln!("vchan-bench: without {}: {why}", peer.key()));
        missing.is_none()
    });
    let _awake = options.awake.then(keep_awake).transpose()?;
    let mut measured = Measured::default();
    let failures = measure(&runner, &others, &peers, &cells, options.rounds(), &mut measured);
    let Measured { results, others: of_others, distances } = measured;

    let mut blocks = report::blocks(&results);
    if options.before.is_some() {
        blocks.extend(of_others.first().and_then(|before| report::compared(&results, before, &cells)));
    }
    let ablations = options.without.iter().copied().zip(&of_others);
    blocks.extend(report::ablations(&results, ablations, &cells));
    if options.files() {
        let size = if options.quick { 256 << 20 } else { 1 << 30 };
        let table = Files::new(options.unixcat()?, size)?.measure(options.rounds())?;
        blocks.push(("files".into(), table));
    }
    let millis = runner.length.as_millis();
    let mut about =
        machine::describe(runner.cpus, options.rounds(), millis, options.awake, &runner.xen_library);
    about += &machine::describe_distances(&distances);
    blocks.insert(0, ("machine".into(), about));
    for (name, text) in &blocks {
        println!("## {name}\n\n{}\n", text.trim());
    }
    if let Some(dir) = &options.out {
        write(dir, &blocks, &report::plots(&results))?;
    }
    if failures > 0 {
        eprintln!("vchan-bench: {failures} measurements failed");
    }
    Ok(failures == 0)
}

/// The results of a run.
#[derive(Default)]
struct Measured {
    results: Results,
    /// The results of the builds for comparison.
    others: Vec<Results>,
    /// The distance of the processors.
    distances: Vec<f64>,
}

/// Measures all cells, each build for comparison directly after this one. Returns the number of failed
/// measurements.
fn measure(
    runner: &Runner,
    others: &[Runner],
    peers: &[Peer],
    cells: &[Cell],
    rounds: usize,
    measured: &mut Measured,
) -> usize {
    let mut failures = 0;
    measured.others.resize_with(others.len(), Results::default);
    for round in 1..=rounds {
        for (n, cell) in cells.iter().enumerate() {
            eprintln!("round {round} of {rounds}, cell {} of {}: {cell}", n + 1, cells.len());
            if peers.contains(&Peer::Spin) {
                measured.distances.extend(runner.distance());
            }
            for &peer in peers.iter().filter(|peer| peer.supports(cell)) {
                let mut add = |runner: &Runner, results: &mut Results| match runner.measure(peer, cell) {
                    Ok(values) => results.add(round, peer, *cell, values),
                    Err(error) => {
                        failures += 1;
                        eprintln!("vchan-bench: {} {cell}: {error}", peer.key());
                    }
                };
                let others = others.iter().zip(&mut measured.others).filter(|_| peer.is_ours());
                // Reversed in every other round, so that neither build is always first.
                if round % 2 == 0 {
                    others.for_each(|(other, results)| add(other, results));
                    add(runner, &mut measured.results);
                } else {
                    add(runner, &mut measured.results);
                    others.for_each(|(other, results)| add(other, results));
                }
            }
        }
    }
    failures
}

/// While the file is open, idle processors do not halt.
fn keep_awake() -> Result<File> {
    let mut file = File::options().write(true).open("/dev/cpu_dma_latency")?;
    file.write_all(&0i32.to_ne_bytes())?;
    Ok(file)
}

fn write(dir: &Path, blocks: &[(String, String)], plots: &[(String, String)]) -> Result<()> {
    document::update(&dir.join("performance.md"), blocks)?;
    for (name, svg) in plots {
        fs::write(dir.join(name), svg)?;
    }
    Ok(())
}

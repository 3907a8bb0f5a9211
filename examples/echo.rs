//! Two processes and one channel: a server that sends back what it reads, and a client that checks it.
//!
//!     cargo run --release --example echo
//!
//! Or in two terminals, on Xen in two domains: `echo server 0`, `echo client 0`.

use std::error::Error;
use std::io::{copy, Read, Write};
use std::process::Command;
use std::time::Duration;

use vchan::{DomId, Listener, Vchan};

const NAME: &str = "vchan-rs-example-echo";

fn serve(client: DomId) -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind(client, NAME)?;
    let (mut reader, mut writer) = listener.accept_timeout(Duration::from_secs(10))?.split();
    copy(&mut reader, &mut writer)?;
    writer.shutdown()?;
    Ok(())
}

fn call(server: DomId) -> Result<(), Box<dyn Error>> {
    let channel = Vchan::builder(server, NAME).wait(Duration::from_secs(10)).connect()?;
    let (mut reader, mut writer) = channel.split();
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    // The rings hold less than that: without a reader beside it, the writer would wait for ever.
    let receiver = std::thread::spawn(move || {
        let mut received = Vec::new();
        reader.read_to_end(&mut received).map(|_| received)
    });
    writer.write_all(&sent)?;
    writer.shutdown()?;
    let received = receiver.join().expect("the reader does not panic")?;
    println!("sent {} bytes, {} came back, equal: {}", sent.len(), received.len(), sent == received);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", client] => serve(client.parse()?),
        ["client", server] => call(server.parse()?),
        _ => {
            let mut server = Command::new(std::env::current_exe()?).args(["server", "0"]).spawn()?;
            call(0)?;
            if !server.wait()?.success() {
                return Err("the server failed".into());
            }
            Ok(())
        }
    }
}

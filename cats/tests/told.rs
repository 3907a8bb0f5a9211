//! Clients whose server is named by `XEN_CONFIGURATION`, perhaps another than the requested one.

mod common;

use common::*;

/// The value in a server's line.
fn configuration(line: &str) -> String {
    let value = line.strip_prefix("XEN_CONFIGURATION=\"").expect(line);
    value.strip_suffix("\"; export XEN_CONFIGURATION").expect(line).to_owned()
}

/// A server at a port, and the value for its clients.
fn serve(place: &Place, port: &str) -> (Cat, String) {
    let mut server = place.server(&["--recv-only", "0", port]).start();
    let line = server.serving();
    (server, configuration(&line))
}

/// Sends a word from the client to the server and ends. Returns the client's standard error.
fn word(setup: Setup, server: Cat) -> Vec<String> {
    let mut client = setup.piped().start();
    client.send("word");
    client.close_input();
    let (client, server) = (client.end(), server.end());
    assert_eq!(
        (client.code, server.code, server.stdout.as_slice()),
        (0, 0, b"word".as_slice()),
        "{client:?}"
    );
    client.stderr
}

#[test]
fn client_prints_which_server_it_reached() {
    let place = Place::new();
    for (asked, warned) in [(["0", "bob"], false), (["77", "bob"], false), (["0", "alice"], true)] {
        let (server, value) = serve(&place, "bob");
        let lines = word(place.client(&["-v"]).args(&asked).env("XEN_CONFIGURATION", &value), server);
        let said = lines.iter().any(|line| {
            line.ends_with(
                ": connected by XEN_CONFIGURATION to the server at /local/domain/0/data/vchan/0/bob",
            )
        });
        assert!(said, "{lines:?}");
        let warning = lines.iter().find(|line| line.contains(": warning: XEN_CONFIGURATION "));
        assert_eq!(warning.is_some(), warned, "{lines:?}");
        let names = |line: &String| line.contains("data/vchan/0/bob, not to alice; unset it ");
        assert!(warning.is_none_or(names), "{lines:?}");
    }
    place.assert_clean();
}

#[test]
fn at_a_path_too() {
    let place = Place::new();
    for (asked, warned) in [("data/here", false), ("/local/domain/0/data/here", false), ("data/there", true)]
    {
        let mut server = place.server(&["--recv-only", "0", "--path", "data/here"]).start();
        let value = configuration(&server.serving());
        let client = place.client(&["0", "--path", asked]).env("XEN_CONFIGURATION", value);
        let lines = word(client, server);
        assert_eq!(lines.iter().any(|line| line.contains(": warning: ")), warned, "{lines:?}");
    }
}

#[test]
fn client_is_not_diverted_from_the_requested_server() {
    let place = Place::new();
    let (bob, value) = serve(&place, "bob");
    let (alice, _) = serve(&place, "alice");
    for wait in [&[][..], &["--wait"]] {
        let client = place.client(wait).args(&["0", "alice"]).env("XEN_CONFIGURATION", &value).start().end();
        assert_eq!(client.code, 1, "{client:?}");
        assert!(client.last().contains("XEN_CONFIGURATION refers to the server at "), "{client:?}");
        assert!(client.last().contains("data/vchan/0/bob, "), "{client:?}");
    }
    word(place.client(&["0", "alice"]), alice);
    word(place.client(&["0", "bob"]).env("XEN_CONFIGURATION", value), bob);
}

#[test]
fn each_error_names_the_variable() {
    let place = Place::new();
    let elsewhere = place.path("0");
    let stale = format!("((ring_ref 0) (event_channel {}))", place.root().join("0").display());
    let check = |value: String, what: &str| {
        let client = place.client(&["0", "port"]).env("XEN_CONFIGURATION", value).start().end();
        assert_eq!((client.code, client.stderr.len()), (1, 1), "{client:?}");
        assert!(client.last().contains("XEN_CONFIGURATION") && client.last().contains(what), "{client:?}");
    };
    check("nonsense".into(), "");
    check(stale.clone(), "no server at ");
    let (_server, _) = serve(&place, "port");
    std::fs::write(&elsewhere, "").unwrap();
    check(format!("((ring_ref 0) (event_channel {}))", elsewhere.display()), "is not a socket");
    // It already has a client.
    let mut first = place.client(&["0", "port"]).piped().start();
    first.connected();
    check(stale, "is in use");
}

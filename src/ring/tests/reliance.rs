//! Publishing without a fence: who promises what to whom, and that no request gets lost meanwhile.

use super::*;

/// The bits beside the requests, by the protocol document.
const PROMISE: u8 = 4;
const RELIES_FOR_DATA: u8 = 8;
const RELIES_FOR_SPACE: u8 = 16;

fn orders() -> Orders {
    OrderTable::Xen.orders(4096, 4096).unwrap()
}

/// The notify bytes, but for what is said of the streams' ends: what the client and what the server is to tell.
fn notify_bytes(end: &Endpoint) -> [u8; 2] {
    // SAFETY: the page that the test holds.
    let page = unsafe { end.page().as_ref() };
    [&page.cli_notify, &page.srv_notify].map(|byte| byte.load(SeqCst) & !UNDERSTOOD)
}

fn publish(end: &Endpoint, want: Want) -> bool {
    match want {
        Want::Data => end.producer.commit(0),
        Want::Space => end.consumer.consume(0),
    }
}

const BOTH: [(Want, u8); 2] = [(Want::Data, RELIES_FOR_DATA), (Want::Space, RELIES_FOR_SPACE)];

#[test]
fn who_is_promised_barriers_relies_on_them_until_the_promise_is_taken_back() {
    for (want, relies) in BOTH {
        let mut memory = Memory::new(orders());
        let (server, client) = memory.ends(orders(), 0);
        server.use_barriers();
        client.use_barriers();
        publish(&client, Want::Data);
        assert!(!server.request(want), "nothing is promised");
        assert!(publish(&client, want));

        server.promise_barriers(true);
        assert!(!server.request(want), "nobody relies on it yet");
        assert!(!client.relies());
        assert!(publish(&client, want), "the request is not lost with the change");
        assert!(client.relies());
        assert_eq!(notify_bytes(&client)[0], PROMISE | relies);
        assert!(!publish(&client, want));
        assert!(server.request(want));
        assert!(publish(&client, want));

        server.promise_barriers(false);
        assert!(server.request(want), "the client may just be publishing");
        assert!(client.relies());
        assert!(publish(&client, want), "nor with the change back");
        assert!(!client.relies());
        assert_eq!(notify_bytes(&client)[0], 0);
        assert!(!server.request(want));
        assert!(publish(&client, want));
    }
}

/// As a peer of another implementation, or on another system.
#[test]
fn who_can_not_be_reached_relies_on_nothing() {
    let mut memory = Memory::new(orders());
    let (server, client) = memory.ends(orders(), 0);
    server.use_barriers();
    publish(&client, Want::Data);
    server.promise_barriers(true);
    for (want, _) in BOTH {
        for _ in 0..3 {
            assert!(!publish(&client, want));
            assert!(!server.request(want));
            assert!(publish(&client, want));
        }
    }
    assert_eq!(notify_bytes(&client)[0], 0, "the promise is looked at once");
    client.promise_barriers(true);
    assert!(!server.request(Want::Data), "nobody relies on it");
}

/// A server relies on what its client promised, who goes. The next one has promised nothing.
#[test]
fn the_next_client_begins_anew() {
    let mut memory = Memory::new(orders());
    let (server, client) = memory.ends(orders(), 0);
    for end in [&server, &client] {
        end.use_barriers();
        end.promise_barriers(true);
    }
    for (want, _) in BOTH {
        publish(&server, want);
        publish(&client, want);
    }
    let all = PROMISE | RELIES_FOR_DATA | RELIES_FOR_SPACE;
    assert_eq!(notify_bytes(&server), [all, all]);
    // It has mapped the same memory.
    client.announce();
    assert_eq!(notify_bytes(&server), [PROMISE, RELIES_FOR_DATA | RELIES_FOR_SPACE | Want::Data.bit()]);
    assert!(client.request(Want::Space), "the server has not noticed yet");
    assert!(publish(&server, Want::Data));
    assert!(publish(&server, Want::Space));
    assert!(!server.relies());
    assert!(!client.request(Want::Space));
}

/// A server of many clients relied on the first one's promise. The next one makes none, and takes none back.
#[test]
fn a_promise_ends_with_its_client() {
    for (want, relies) in BOTH {
        let mut memory = Memory::new(orders());
        let (server, client) = memory.ends(orders(), 0);
        for end in [&server, &client] {
            end.use_barriers();
        }
        publish(&server, Want::Data);
        client.promise_barriers(true);
        publish(&server, want);
        assert!(server.relies());
        assert_eq!(notify_bytes(&server)[1], PROMISE | relies);

        server.stop_relying();
        assert!(!server.relies());
        assert!(client.request(want), "a publication may be under way");
        assert!(publish(&server, want), "the request is not lost with the change");
        assert!(!client.request(want));
        for _ in 0..3 {
            assert!(publish(&server, want));
            assert!(!server.relies());
            assert_eq!(notify_bytes(&server)[1], 0);
            client.promise_barriers(true);
            assert!(!client.request(want));
        }
    }
}

/// Nothing that an honest peer of another implementation sees has changed.
#[test]
fn without_a_promise_there_are_only_requests() {
    let mut memory = Memory::new(orders());
    let (server, client) = memory.ends(orders(), 0);
    server.use_barriers();
    client.use_barriers();
    assert_eq!(notify_bytes(&server), [Want::Data.bit(); 2]);
    for (want, _) in BOTH {
        assert!(!server.request(want));
        assert!(publish(&client, want));
        assert!(!publish(&client, want));
    }
    assert_eq!(notify_bytes(&server), [0, Want::Data.bit()]);
}

//! Publishing without a fence: offers, elision, and no lost request meanwhile.

use super::*;

/// The bits beside the requests, by the protocol document.
const OFFER: u8 = 4;
const RELIES_FOR_DATA: u8 = 8;
const RELIES_FOR_SPACE: u8 = 16;

fn orders() -> Orders {
    OrderTable::Xen.orders(4096, 4096).unwrap()
}

/// The notify bytes without the bits of stream ends: first the client's events, then the server's.
fn notify_bytes(end: &Endpoint) -> [u8; 2] {
    // SAFETY: the page that the test holds.
    let page = unsafe { end.page().as_ref() };
    [&page.cli_notify, &page.srv_notify].map(|byte| byte.load(SeqCst) & !UNDERSTOOD)
}

fn publish(end: &Endpoint, interest: Interest) -> bool {
    match interest {
        Interest::Readable => end.producer.commit(0),
        Interest::Writable => end.consumer.consume(0),
    }
}

const BOTH: [(Interest, u8); 2] =
    [(Interest::Readable, RELIES_FOR_DATA), (Interest::Writable, RELIES_FOR_SPACE)];

#[test]
fn an_offer_is_followed_until_it_is_withdrawn() {
    for (interest, elides) in BOTH {
        let mut memory = Memory::new(orders());
        let (server, client) = memory.ends(orders(), 0);
        server.allow_fence_elision();
        client.allow_fence_elision();
        publish(&client, Interest::Readable);
        assert!(!server.enable_notification(interest), "nothing is offered");
        assert!(publish(&client, interest));

        server.offer_heavy_fences(true);
        assert!(!server.enable_notification(interest), "the peer does not elide yet");
        assert!(!client.elides());
        assert!(publish(&client, interest), "the request is not lost with the change");
        assert!(client.elides());
        assert_eq!(notify_bytes(&client)[0], OFFER | elides);
        assert!(!publish(&client, interest));
        assert!(server.enable_notification(interest));
        assert!(publish(&client, interest));

        server.offer_heavy_fences(false);
        assert!(server.enable_notification(interest), "the client may just be publishing");
        assert!(client.elides());
        assert!(publish(&client, interest), "nor with the change back");
        assert!(!client.elides());
        assert_eq!(notify_bytes(&client)[0], 0);
        assert!(!server.enable_notification(interest));
        assert!(publish(&client, interest));
    }
}

/// Like a peer of another implementation, or on another system.
#[test]
fn unreachable_peers_elide_nothing() {
    let mut memory = Memory::new(orders());
    let (server, client) = memory.ends(orders(), 0);
    server.allow_fence_elision();
    publish(&client, Interest::Readable);
    server.offer_heavy_fences(true);
    for (interest, _) in BOTH {
        for _ in 0..3 {
            assert!(!publish(&client, interest));
            assert!(!server.enable_notification(interest));
            assert!(publish(&client, interest));
        }
    }
    assert_eq!(notify_bytes(&client)[0], 0, "the promise is looked at once");
    client.offer_heavy_fences(true);
    assert!(!server.enable_notification(Interest::Readable), "the peer does not elide");
}

/// A server elides by its client's offer. The client leaves. The next one has offered nothing.
#[test]
fn the_next_client_starts_without_an_offer() {
    let mut memory = Memory::new(orders());
    let (server, client) = memory.ends(orders(), 0);
    for end in [&server, &client] {
        end.allow_fence_elision();
        end.offer_heavy_fences(true);
    }
    for (interest, _) in BOTH {
        publish(&server, interest);
        publish(&client, interest);
    }
    let all = OFFER | RELIES_FOR_DATA | RELIES_FOR_SPACE;
    assert_eq!(notify_bytes(&server), [all, all]);
    // It has mapped the same memory.
    client.announce();
    assert_eq!(notify_bytes(&server), [OFFER, RELIES_FOR_DATA | RELIES_FOR_SPACE | Interest::Readable.bit()]);
    assert!(client.enable_notification(Interest::Writable), "the server has not noticed yet");
    assert!(publish(&server, Interest::Readable));
    assert!(publish(&server, Interest::Writable));
    assert!(!server.elides());
    assert!(!client.enable_notification(Interest::Writable));
}

/// A server of several clients elided by the first one's offer. The next one neither makes nor withdraws one.
#[test]
fn an_offer_ends_with_its_client() {
    for (interest, elides) in BOTH {
        let mut memory = Memory::new(orders());
        let (server, client) = memory.ends(orders(), 0);
        for end in [&server, &client] {
            end.allow_fence_elision();
        }
        publish(&server, Interest::Readable);
        client.offer_heavy_fences(true);
        publish(&server, interest);
        assert!(server.elides());
        assert_eq!(notify_bytes(&server)[1], OFFER | elides);

        server.stop_eliding();
        assert!(!server.elides());
        assert!(client.enable_notification(interest), "a publication may be under way");
        assert!(publish(&server, interest), "the request is not lost with the change");
        assert!(!client.enable_notification(interest));
        for _ in 0..3 {
            assert!(publish(&server, interest));
            assert!(!server.elides());
            assert_eq!(notify_bytes(&server)[1], 0);
            client.offer_heavy_fences(true);
            assert!(!client.enable_notification(interest));
        }
    }
}

/// An honest peer of another implementation sees no change.
#[test]
fn without_an_offer_there_are_only_requests() {
    let mut memory = Memory::new(orders());
    let (server, client) = memory.ends(orders(), 0);
    server.allow_fence_elision();
    client.allow_fence_elision();
    assert_eq!(notify_bytes(&server), [Interest::Readable.bit(); 2]);
    for (interest, _) in BOTH {
        assert!(!server.enable_notification(interest));
        assert!(publish(&client, interest));
        assert!(!publish(&client, interest));
    }
    assert_eq!(notify_bytes(&server), [0, Interest::Readable.bit()]);
}

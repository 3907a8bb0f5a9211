//! One suite for every transport: the behaviour of channels that does not depend on the transport.
//!
//! A transport takes part by an implementation of [`World`](world::World) and one line at the end of this
//! file. Each test runs in its own process (see [`isolated`]), which finally checks for leftover descriptors,
//! shared mappings, files, directories and names.

mod budget;
mod closing;
mod connecting;
mod descriptors;
mod events;
mod half_close;
mod hostile;
mod interrupted;
mod isolated;
mod limits;
mod listener;
mod meddling;
mod nonblocking;
mod packets;
mod persistent;
mod raw;
mod spinning;
mod split;
mod stream;
mod support;
mod world;

/// The tests of every subject, as `subject: test, test;`. A test that is not listed is dead code, which
/// clippy refuses.
macro_rules! suite {
    ($world:ty) => {
        suite! { $world =>
            stream: both_ways_with_every_pair_of_orders, indices_wrap, sizes_of_every_kind, vectored;
            budget: one_end, waiting_clients;
            closing: end_follows_the_last_byte, end_follows_the_remaining_bytes, close_ends_a_blocked_read,
                close_ends_a_blocked_write, close_ends_a_blocked_accept, close_ends_a_blocked_connect,
                close_ends_both_halves, drop_notifies_the_peer, read_after_leave, write_to_a_closed_peer,
                wait_until_drained, peer_death_is_not_end_of_stream, nonblocking_caller_sees_peer_death;
            connecting: accept_times_out_without_client, write_before_client_connects, connect_without_server,
                client_waits_for_server, second_client_is_refused, second_server_is_refused,
                name_is_free_once_server_has_client, name_is_reusable, invalid_port_is_refused,
                roles_paths_and_sizes;
            descriptors: copy_from_ring_to_fd, copy_from_fd_to_ring, short_copies_request_events,
                partial_write_to_fd_leaves_the_rest;
            events: endless_events_do_not_defeat_timeouts, stray_readiness_does_not_defeat_timeouts,
                failure_wakes_all_threads, smallest_request_is_met_first, wait_after_poll_returns,
                failed_event_does_not_lose_the_count, last_bytes_arrive_together_with_the_end,
                own_peers_get_no_unrequested_events;
            half_close: other_direction_continues, write_after_shutdown_fails, end_of_stream_wakes_a_reader,
                end_of_stream_wakes_a_poller, incomplete_packet_stays_readable, leave_after_end_of_stream,
                abort_is_reported_to_the_peer, abort_ends_a_blocked_write, both_sides_know_the_extension,
                foreign_peer, next_client_starts_without_an_offer, earlier_client_does_not_end_a_later_stream,
                peer_that_clears_its_bits;
            hostile: invalid_indices, invalid_live_bytes, invalid_orders, random_writes_everywhere,
                own_indices_overwritten;
            interrupted: signal_interrupts_a_read, signal_does_not_end_an_accept,
                signal_ends_the_wait_for_a_server, interrupted_write_returns_the_count;
            limits: timeouts, unlimited_timeouts, wait_for_an_event;
            listener: one_client_after_another, several_clients_at_once,
                waiting_clients_are_served_in_any_order, several_threads_accept, timeout_loses_no_client,
                close_ends_an_accept, close_notifies_an_unaccepted_client, descriptor_reports_clients,
                poller_and_accepting_thread, clients_that_left_before_accept, dead_client_is_skipped,
                failure_to_publish_the_next_channel, name_is_taken_and_freed;
            nonblocking: would_block_then_woken, echo_through_poll, echo_through_wait,
                idle_direction_does_not_keep_the_descriptor_readable,
                waiting_packet_does_not_keep_the_descriptor_readable,
                event_is_forwarded_to_the_other_direction, end_wakes_both_directions,
                halves_poll_independently, one_half_polls_while_the_other_blocks,
                short_vectored_reads_request_events, data_ready_and_buffer_space_request_events,
                end_is_reported_after_the_last_data, short_blocking_calls_request_events,
                timed_out_call_has_requested_an_event, wait_in_another_thread_steals_no_event;
            packets: exact_sizes, too_large, no_partial_packets;
            persistent: one_client_after_another, client_waits_for_the_previous_one;
            spinning: no_wake_up_is_lost_without_spinning, no_wake_up_is_lost_by_spinning_briefly,
                no_wake_up_is_lost_by_spinning;
            split: both_halves_block_at_once, both_halves_block_at_once_without_spinning,
                ping_pong_of_both_halves;
        }
    };
    ($world:ty => $($subject:ident: $($test:ident),*;)*) => {
        $(mod $subject {
            $(#[test]
            fn $test() {
                let name = concat!(module_path!(), "::", stringify!($test));
                crate::isolated::run::<$world>(name, crate::$subject::$test);
            })*
        })*
    };
}

mod in_process {
    suite!(crate::world::InProcessWorld);
}

mod unix {
    suite!(crate::world::UnixWorld);
}

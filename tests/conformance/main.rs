//! One suite for every transport: what a channel promises, whatever carries it.
//!
//! A transport takes part by an implementation of [`World`](world::World) and one line at the end of this file. Each
//! test runs in a process of its own (see [`isolated`]), which ends by checking that nothing is left: descriptors,
//! shared mappings, files, directories, names.

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

/// The tests of every subject, as `subject: test, test;`. One that is not listed is dead code, which clippy refuses.
macro_rules! suite {
    ($world:ty) => {
        suite! { $world =>
            stream: both_ways_with_every_pair_of_orders, indices_wrap, sizes_of_every_kind, vectored;
            budget: of_an_end, of_clients_that_wait;
            closing: the_end_comes_after_the_last_byte, the_end_comes_once_nothing_is_left,
                close_ends_a_blocked_read, close_ends_a_blocked_write, close_ends_a_blocked_accept,
                close_ends_a_blocked_connect, close_ends_both_halves, drop_tells_the_peer,
                leave_then_read_on, writing_to_a_peer_that_left, waiting_for_the_peer_to_drain,
                a_peer_that_dies_is_no_end_of_stream, a_death_is_heard_by_who_does_not_block;
            connecting: a_server_without_client, writing_before_the_client_comes, no_server,
                the_client_waits_for_its_server, a_second_client_is_refused, a_second_server_is_refused, a_name_is_free_when_its_server_has_a_client,
                a_name_can_be_used_again, a_bad_port_is_refused, who_is_where;
            descriptors: out_of_the_ring, into_the_ring, short_copies_ask_for_more,
                a_descriptor_that_takes_less_leaves_the_rest;
            events: events_without_end_do_not_stop_the_clock, stray_readiness_does_not_stop_the_clock,
                a_failure_ends_every_sleep, the_least_need_is_met, who_polled_does_not_sleep, what_was_moved_is_told_though_the_event_failed,
                the_last_bytes_come_at_the_same_moment_as_the_end, our_own_peers_are_not_nudged;
            half_close: the_other_direction_goes_on, nothing_is_written_after_the_end, the_end_of_the_stream_wakes_a_reader,
                the_end_of_the_stream_wakes_a_poller, a_packet_that_is_cut_short, leaving_after_the_end_of_the_stream,
                a_failure_is_told_to_the_peer, a_failure_ends_a_blocked_write, both_sides_know_that_it_is_understood,
                a_foreign_peer, the_next_client_starts_without_an_offer, an_earlier_client_ends_no_later_stream, a_peer_that_takes_it_back;
            hostile: impossible_indices, impossible_live_bytes, impossible_orders, rubbish_everywhere,
                own_indices_overwritten;
            interrupted: a_signal_interrupts_a_read, a_signal_does_not_end_an_accept, a_signal_ends_the_wait_for_a_server,
                an_interrupted_write_says_what_was_written;
            limits: time_outs, time_outs_without_end, waiting_for_an_event;
            listener: one_client_after_the_other, several_clients_at_once, clients_that_wait_are_served_in_some_order,
                several_threads_accept, a_time_out_loses_nothing, close_ends_an_accept,
                close_tells_a_client_that_was_not_accepted, the_descriptor_tells_of_clients,
                a_poller_and_a_thread_that_accepts, clients_that_did_not_wait_to_be_accepted,
                a_client_that_died_in_silence_is_skipped, the_next_channel_can_not_be_published,
                the_name_is_taken_and_free_again;
            nonblocking: would_block_then_woken, echo_through_poll, echo_through_wait, neither_direction_keeps_the_descriptor_busy,
                a_packet_that_waits_keeps_no_descriptor_busy, the_other_direction_is_woken_too,
                the_end_wakes_both_directions, halves_poll_apart, one_half_polls_while_the_other_blocks, short_vectored_reads_ask_for_more,
                data_and_space, who_asks_for_more_hears_of_the_end, short_blocking_calls_ask_for_more,
                a_call_that_ran_out_of_time_has_asked, another_thread_s_wait_takes_nothing_away;
            packets: exact_sizes, too_large, nothing_by_halves;
            persistent: one_client_after_the_other, a_client_waits_for_the_one_before;
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

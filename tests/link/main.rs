//! The link, end to end: the real binary in real processes on real sockets, with `netlab` between them.
//!
//! Claims run several at once, the longest first: most of them wait. Figures are printed, so that a run is also a measurement. `cargo test --test link
//! WORD…` runs the claims whose name has one of the words. What a wrong clock does is told elsewhere (`src/node`), with a clock in memory: the system's
//! cannot be changed for one process.
#![allow(clippy::disallowed_methods, reason = "tests use the disk, the clock and the network they are given")]
#![allow(clippy::cast_precision_loss, reason = "figures of a link, far below 2^52")]

mod air;
mod beside;
mod bounds;
mod claims;
mod confined;
mod crowd;
mod cuts;
mod honest;
mod lanes;
mod process;
mod published;
mod refusals;
mod space;
mod world;

use claims::claims;
use std::process::ExitCode;

/// Claims at once. Few of them compute for long.
const AT_ONCE: usize = 6;

claims! {
    published::a_link_that_dies_after_every_15_000_bytes_carries_everything,
    published::the_neighbours_link_with_a_cut_in_its_middle_brings_5000_of_5000_once,
    air::a_2g_link_with_loss_and_a_cut_brings_everything_once,
    lanes::what_is_urgent_passes_a_backlog,
    crowd::sixty_clinics_at_once,
    crowd::five_clinics_of_a_thousand_events_each_at_once,
    crowd::a_hostile_crowd_holds_up_nobody,
    crowd::a_hub_asked_to_end_ends_its_sessions_in_order,
    cuts::whatever_way_it_is_cut_nothing_is_lost_and_nothing_comes_twice,
    cuts::a_clinic_killed_again_and_again_gets_on,
    cuts::a_hub_killed_again_and_again_is_dialled_again,
    honest::a_hub_killed_before_it_acknowledges_has_not_been_told_as_reached,
    honest::every_byte_of_the_socket_is_told,
    bounds::a_budget_is_kept_to_the_record,
    bounds::a_daily_budget_is_of_the_day_and_not_of_the_process,
    bounds::a_deadline_is_kept_when_the_peer_falls_silent,
    bounds::a_deadline_is_kept_at_a_slow_rate,
    bounds::who_is_asked_to_stop_says_so,
    bounds::a_rate_is_kept,
    bounds::a_dry_run_tells_what_the_run_then_sends,
    published::any_round_trip_up_to_three_seconds_will_do,
    beside::every_command_works_beside_a_server_and_events_go_three_hops_both_ways,
    space::a_full_disk_is_told_and_nothing_is_lost,
    confined::a_server_and_who_dials_it_have_given_up_what_they_do_not_need,
    refusals::a_revoked_clinic_is_told_on_both_sides,
    refusals::a_stranger_is_told_on_both_sides,
    refusals::who_does_not_speak_our_tls_is_told,
    refusals::nobody_there_is_told,
    refusals::an_address_must_be_known_and_options_possible,
}

fn main() -> ExitCode {
    claims::run(CLAIMS, AT_ONCE)
}

//! Watched folders, end to end: the real binary, real copiers and sync programs, hostile sticks, media that come and go.
//!
//! A test binary with a runner of its own, like `tests/link`, whose processes and domains it uses. `cargo test --test folders WORD…` runs the claims
//! whose name has one of the words. The programs are Debian's `rsync`, `rclone`, `syncthing`, `libglib2.0-bin` (for `gio`), `mount`, `exfat-fuse`
//! and `exfatprogs`.
#![allow(clippy::disallowed_methods, reason = "tests use the disk and the clock they are given")]
#![allow(clippy::cast_precision_loss, reason = "figures, far below 2^52")]

#[path = "../stick/bed.rs"]
#[expect(dead_code, reason = "of the sticks made in files these need one kind, and no room counted")]
mod bed;
#[path = "../link/claims.rs"]
mod claims;
mod copiers;
mod days;
mod fuse;
mod hostile;
mod media;
mod place;
#[path = "../link/process.rs"]
#[expect(dead_code, reason = "summaries of links are asked for what none of these commands says")]
mod process;
mod programs;
mod units;
#[path = "../link/world.rs"]
#[expect(dead_code, reason = "a domain as the tests of the link know it, of which these use no network")]
mod world;

use claims::claims;
use std::process::ExitCode;

/// Claims at once. They measure time and memory, so few.
const AT_ONCE: usize = 3;

claims! {
    programs::syncthing_carries_both_ways_and_its_temporaries_are_left_alone,
    fuse::an_exfat_stick_that_comes_and_goes_is_taken_up_each_time,
    fuse::what_comes_unseen_by_the_kernel_is_found_by_looking,
    days::an_idle_watch_costs_nearly_nothing,
    hostile::a_hostile_stick_is_done_with_soon_in_little_memory_and_the_good_bundles_are_taken,
    hostile::a_stick_whose_folder_is_a_link_is_refused_and_nothing_goes_where_it_leads,
    days::ten_thousand_old_bundles_are_looked_at_again_in_no_time,
    copiers::every_copier_brings_a_bundle_once_and_no_verdict_comes_early,
    copiers::a_bundle_replaced_again_and_again_while_it_is_read_is_never_called_damaged,
    copiers::what_stops_arriving_is_told_once_and_taken_when_it_is_completed,
    copiers::a_damaged_bundle_is_told_once_and_its_repair_is_taken,
    days::hints_that_were_lost_are_made_up_for_by_looking,
    days::a_watch_killed_again_and_again_loses_nothing_and_tells_nothing_twice,
    days::thousands_of_files_at_once_are_all_taken,
    media::a_stick_that_comes_and_goes_is_taken_up_each_time_and_can_be_unmounted,
    media::a_full_disk_stops_the_taking_and_room_resumes_it,
    media::a_wrong_folder_is_refused_and_an_empty_one_waited_for,
    programs::rsync_killed_half_way_and_resumed_brings_the_bundle,
    programs::rclone_killed_half_way_and_resumed_brings_the_bundle,
    units::every_service_that_reads_strangers_files_is_closed_tightly,
    units::systemd_understands_every_line_of_the_units,
    days::cron_hears_nothing_when_all_is_well,
    days::a_hub_answers_in_its_drop_folder_by_itself_and_falls_silent,
    days::serve_watches_too_and_other_commands_work_beside_it,
}

fn main() -> ExitCode {
    claims::run(CLAIMS, AT_ONCE)
}

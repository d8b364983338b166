//! The contract of `Store` as one suite for every store. A case is an async fn over a [`fixture::Fixture`]; a further
//! store takes a `Fixture` and one line at the end of this file.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints know `#[test]` functions only, and cases are called by them"
)]
#![allow(clippy::print_stdout, reason = "what a test drew; cargo shows it where the test fails")]

mod appends;
#[path = "../support/cluster.rs"]
mod cluster;
mod coalescing;
mod commit_notifications;
mod compaction;
mod duplicates;
mod erase;
mod expectations;
mod filters;
mod fixture;
mod groups;
mod imports;
mod keys;
#[path = "../support/pooler.rs"]
mod pooler;
mod postgres_fast_path;
mod postgres_faults;
mod postgres_following;
mod postgres_pooler;
mod postgres_projects;
mod postgres_questions;
mod postgres_removals;
mod postgres_tls;
mod postgres_unknown;
mod projects;
#[path = "../support/proxy.rs"]
mod proxy;
mod reading;
mod retention;
#[path = "../support/rng.rs"]
mod rng;
mod runs;
mod sqlite_faults;
mod sqlite_free_space;
mod sqlite_ids;
mod sqlite_retention;
mod upgrade;
mod usage;
mod year;

/// Makes a test of each case for the store of this fixture.
macro_rules! contract {
    ($fixture:ty) => {
        contract! { $fixture:
            appends {
                seqs_of_a_run_are_gapless_for_all_appenders, appends_to_many_runs_at_once_are_each_gapless,
                recorded_at_never_decreases_in_a_run, payloads_come_back_as_they_were_sent,
                times_of_the_years_1_and_9999_are_kept, the_double_of_a_time_is_kept_bit_by_bit,
                an_event_without_an_id_gets_one_of_its_own,
                a_dropped_append_is_stored_whole_or_not_at_all, the_order_of_submits_is_the_order_of_seqs,
            }
            keys {
                a_key_is_read_back_as_it_was_created_and_survives_reopen,
                a_creation_may_be_repeated_and_another_secret_under_its_id_is_refused,
                a_revocation_stays_and_the_first_time_counts, a_rotation_ends_the_old_key_at_its_time_or_before,
                a_use_is_recorded_and_changes_nothing_else, keys_and_events_are_written_at_once,
                a_secret_is_made_once_and_survives_reopen, of_many_secrets_made_at_once_one_is_everybodys,
            }
            groups {
                a_bad_request_in_a_group_fails_alone, a_repeat_in_the_same_group_is_a_duplicate,
                what_a_strict_run_refuses_leaves_no_trace_in_its_group,
                a_queue_that_stays_full_answers_overloaded, a_queue_counts_events_and_not_requests,
                a_request_larger_than_the_queue_is_stored, what_was_accepted_before_close_is_answered,
                small_appends_overtake_large_ones_but_not_those_of_their_run_or_sequence,
                close_may_be_called_twice_and_at_once, a_closed_store_opens_again_while_its_handle_lives,
            }
            coalescing {
                waiting_deltas_are_one_commit_with_the_append_that_ends_their_wait,
                deltas_that_nothing_follows_are_stored_after_their_wait, a_store_that_closes_stores_waiting_deltas,
                a_queue_full_of_deltas_makes_room_at_once,
            }
            duplicates {
                the_same_event_again_is_answered_with_its_first_seq, other_content_under_an_id_is_a_conflict,
                the_same_json_in_another_encoding_is_the_same_event_and_the_first_text_stays,
                duplicates_are_known_after_reopen_and_after_a_flush, ids_given_by_the_store_may_be_sent_back,
                an_id_repeated_within_a_request_is_stored_once, a_batch_with_a_conflict_leaves_nothing,
                the_same_id_in_another_run_is_another_event, a_batch_of_a_thousand_repeats_at_once,
                repeats_of_large_events_by_small_ones_are_conflicts, a_retry_with_fresh_clocks_is_a_duplicate,
            }
            imports {
                an_import_is_the_same_log_with_the_same_runs_in_the_same_order, an_import_keeps_what_a_compaction_has_left,
                events_of_an_import_keep_their_order_in_the_feed_within_one_commit,
                nothing_is_stored_after_the_first_append_of_an_import_that_fails,
                an_import_never_takes_an_event_for_another, ids_that_another_store_gave_are_found_and_known_again,
            }
            expectations {
                zero_expects_a_run_that_does_not_exist, a_right_expectation_appends_and_a_wrong_one_changes_nothing,
                a_repeat_needs_no_expectation,
                a_completion_follows_new_events_of_an_open_run_and_no_condition_counts_it, of_two_writers_exactly_one_wins_each_seq,
                a_condition_is_judged_by_the_run_as_it_is_then_and_not_by_its_last_seq,
                of_many_answers_to_one_question_exactly_one_is_stored,
            }
            runs {
                the_row_of_a_run_follows_its_events, the_row_survives_reopen,
                open_questions_are_kept_one_by_one_over_a_reopen_until_they_are_answered, a_final_status_stays_unless_strict,
                strict_refuses_a_way_out_of_a_final_status, a_cost_beyond_all_numbers_harms_nobody,
                costs_read_back_exactly, text_with_every_odd_character_reads_back,
                runs_are_listed_newest_first_by_page_and_filter, a_listing_looks_at_a_bounded_number_of_runs,
                a_listing_of_large_outputs_comes_in_parts, an_unknown_run_is_not_found,
                ids_of_any_text_are_distinguished_by_their_bytes,
            }
            filters {
                runs_are_found_by_the_time_of_their_creation_to_the_nanosecond,
                runs_are_found_by_a_part_of_their_id_or_their_agent,
            }
            usage {
                usage_is_summed_by_agent_model_and_day_with_the_highest_cost_first,
                usage_is_that_of_the_runs_that_match_every_filter, a_day_of_usage_is_one_of_utc,
                runs_are_counted_by_status_as_they_are_now_and_pass_the_filter,
                groups_beyond_the_maximum_are_one_without_a_key,
                usage_of_more_runs_than_are_examined_is_that_of_the_newest,
                a_run_that_reports_beyond_all_numbers_leaves_the_sums_of_usage_usable,
            }
            reading {
                every_page_of_a_flushed_run_is_right, every_page_of_an_unflushed_run_is_right,
                every_page_of_a_half_flushed_run_is_right, every_page_of_the_feed_is_right,
                random_logs_read_as_they_were_written, a_page_reaches_the_scope_end_that_it_reports,
                large_events_are_read_one_by_one, offsets_past_every_end_are_empty_pages,
                readers_see_no_gap_while_the_writer_flushes,
            }
            retention {
                events_older_than_they_are_kept_are_gone_and_the_first_one_is_named,
                events_of_one_append_are_read_from_every_position_when_the_first_of_them_are_gone,
                the_newest_event_keeps_its_place_when_all_others_are_gone,
                types_are_kept_by_their_own_rule_and_leave_no_gap, events_are_kept_by_the_status_of_their_run,
                a_held_run_stays_whole_while_the_feed_moves_on_and_goes_after_its_release,
                the_oldest_events_go_while_a_project_holds_too_many_bytes,
                the_removal_of_events_that_have_lost_their_payload_before_is_work,
                a_repeat_of_an_expired_event_is_a_duplicate_while_its_seq_is_kept_and_new_afterwards,
                an_import_of_a_run_that_has_lost_its_first_events_begins_with_their_seq,
                each_project_is_kept_by_its_own_rules, the_listener_hears_of_what_is_removed_before_the_caller,
                deltas_become_one_event_or_none_of_them_changes,
                readers_at_every_position_see_no_gap_and_no_damage_while_retention_runs,
            }
            compaction {
                a_joined_event_names_the_first_of_all_events_that_were_joined_in_several_steps,
                a_repeat_of_a_joined_or_compacted_event_is_a_duplicate_whatever_its_content,
            }
            erase {
                erased_events_keep_their_places_and_all_but_their_payloads,
                an_erasure_may_be_repeated_and_leaves_out_what_the_run_does_not_have, a_long_run_is_erased_in_parts,
                a_repeat_of_an_erased_event_is_a_duplicate_and_brings_nothing_back,
                documents_that_came_from_an_erased_event_go_with_it, an_erased_question_stays_open_without_its_text,
                the_listener_hears_of_an_erasure_before_its_answer,
                an_erasure_of_a_whole_run_takes_what_expired_events_have_left, an_event_id_of_another_run_or_project_is_not_erased,
                readers_at_every_position_see_no_gap_while_events_are_published_and_erased,
            }
            projects {
                one_id_in_two_projects_is_two_runs, an_event_is_found_in_its_project_only,
                each_project_has_its_own_feed_from_1_without_gaps, projects_written_at_once_keep_their_own_order,
                runs_are_listed_and_counted_in_their_project_only, projects_survive_reopen_flushed_or_not,
                a_project_is_made_once_and_known_to_every_store_over_the_data, keys_are_listed_by_project,
            }
            commit_notifications {
                the_announced_events_are_the_stored_events, the_listener_is_notified_before_the_producer_and_in_order,
                the_feed_has_every_event_once_in_commit_order, positions_go_on_after_reopen,
                nothing_is_announced_without_a_new_event, the_feed_id_stays,
                a_task_that_ends_by_a_defect_is_noticed_and_a_close_is_none,
            }
        }
    };
    ($fixture:ty: $($module:ident { $($case:ident,)* })*) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let Some(fixture) = <$fixture as crate::fixture::Fixture>::new().await else { return };
                crate::$module::$case(fixture).await;
            })*
        })*
    };
}
use contract;

mod sqlite {
    crate::contract!(crate::fixture::SqliteFixture);
}

mod postgres {
    crate::contract!(crate::fixture::PostgresFixture);
}

/// All cases again, in another project than `default` beside a project with the same runs.
mod sqlite_in_a_project {
    crate::contract!(crate::projects::InProject<crate::fixture::SqliteFixture>);
}

mod postgres_in_a_project {
    crate::contract!(crate::projects::InProject<crate::fixture::PostgresFixture>);
}

mod postgres_behind_a_pooler {
    crate::contract!(crate::fixture::PoolerFixture);
}

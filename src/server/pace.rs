//! Pace of background work on the log: after each slice a pause in proportion, so that most of the disk is left to publishers.

use std::time::Duration;

use tokio::time::Instant;

/// Pause after a slice, in times of the slice.
const PAUSE_TIMES: u32 = 9;

/// Shortest pause after a slice.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// Most halvings of the pause: a little more than a quarter of the slice is left.
const MAX_HALVINGS: u32 = 5;

/// Pauses after a slice that began then.
pub async fn pause_after(began: Instant) {
    tokio::time::sleep(pause(began.elapsed(), 0)).await;
}

fn pause(slice: Duration, halvings: u32) -> Duration {
    (slice * PAUSE_TIMES / (1 << halvings)).max(MIN_PAUSE)
}

/// Pace of a pass whose work is to be done in time. Once it is late, what is published needs more work than the pauses leave room for:
/// they are halved after each further time of this length, so that a backlog gets smaller whatever the rate is.
#[derive(Debug)]
pub struct Pace {
    /// Time of the slices that had work, with their pauses. Those that only examine what is kept never make a pass late.
    worked: Duration,
    time: Duration,
}

impl Pace {
    /// The work of the pass is to be done within this time.
    pub fn new(time: Duration) -> Self {
        Self { worked: Duration::ZERO, time }
    }

    /// Time of the slices that had work.
    pub fn worked(&self) -> Duration {
        self.worked
    }

    /// How often the pauses are halved now; 0: the pass is in time.
    pub fn halvings(&self) -> u32 {
        let times = self.worked.as_nanos() / self.time.as_nanos().max(1);
        u32::try_from(times).unwrap_or(u32::MAX).min(MAX_HALVINGS)
    }

    /// Pauses after a slice that began then.
    pub async fn pause_after(&mut self, began: Instant, had_work: bool) {
        tokio::time::sleep(pause(began.elapsed(), self.halvings())).await;
        if had_work {
            self.worked += began.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(10);
    const MINUTE: Duration = Duration::from_secs(60);

    /// One slice and its pause.
    async fn slice(pace: &mut Pace, had_work: bool) -> Duration {
        let began = Instant::now();
        tokio::time::advance(SLICE).await;
        pace.pause_after(began, had_work).await;
        began.elapsed()
    }

    /// Slices per second of a pass that has worked this long.
    async fn slices_after(minutes: u32) -> f64 {
        let mut pace = Pace { worked: MINUTE * minutes, time: MINUTE };
        1.0 / slice(&mut pace, true).await.as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_in_time_leaves_nine_tenths_to_publishers() {
        assert!((9.0..=10.0).contains(&slices_after(0).await));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_pass_works_faster_every_minute_up_to_a_bound() {
        let mut rates = Vec::new();
        for minutes in [0, 1, 2, 3, 4, 5, 6, 1_000_000] {
            rates.push(slices_after(minutes).await);
        }
        assert!(rates[..6].is_sorted_by(|slower, faster| slower * 1.1 < *faster), "{rates:?}");
        assert!(rates[5..].iter().all(|rate| (70.0..80.0).contains(rate)), "{rates:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_beyond_a_tenth_of_the_time_is_done_in_the_end() {
        for share in [0.05, 0.3, 0.6] {
            let (mut pace, began, mut done) = (Pace::new(MINUTE), Instant::now(), 0.0);
            let backlog = |done: f64| share * began.elapsed().as_secs_f64() / SLICE.as_secs_f64() + 100.0 - done;
            while backlog(done) > 0.0 {
                slice(&mut pace, true).await;
                done += 1.0;
                assert!(began.elapsed() < 60 * MINUTE, "{share}: {} slices are left", backlog(done));
            }
            assert_eq!(pace.halvings() == 0, share < 0.1, "{share}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pass_over_events_that_are_kept_is_never_late() {
        let (mut pace, began) = (Pace::new(MINUTE), Instant::now());
        while began.elapsed() < 10 * MINUTE {
            slice(&mut pace, false).await;
        }
        assert_eq!((pace.halvings(), pace.worked()), (0, Duration::ZERO));
    }
}

//! Many pieces of work for few workers: each lane takes the next piece when it has done one.

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

use super::{error::JobError, shares::Shares};

/// Has every piece done, by as many lanes at once as `shares` has places. `work` does a piece in a lane, and notes
/// in `shares` how far the lane is. `on_news` is handed each result as it comes; it is handed nothing when a lane has
/// only noted something in `shares`.
///
/// # Errors
/// With the first piece that fails. The results of pieces that were done by then have been handed on.
pub(super) async fn share_out<Piece, Done, Work>(
    pieces: impl IntoIterator<Item = Piece>,
    shares: &Shares,
    work: impl Fn(usize, Piece) -> Work,
    mut on_news: impl FnMut(Option<Done>),
) -> Result<(), JobError>
where
    Work: Future<Output = Result<Done, JobError>>,
{
    let begin = |lane, piece| {
        let doing = work(lane, piece);
        async move { (lane, doing.await) }
    };
    let mut pieces = pieces.into_iter();
    let mut running: FuturesUnordered<_> =
        (0..shares.count()).zip(pieces.by_ref()).map(|(lane, piece)| begin(lane, piece)).collect();
    let failure = loop {
        tokio::select! {
            // Results before progress.
            biased;
            next = running.next() => match next {
                None => return Ok(()),
                Some((lane, Ok(done))) => {
                    shares.set(lane, 0, 0);
                    on_news(Some(done));
                    running.extend(pieces.next().map(|piece| begin(lane, piece)));
                }
                Some((_, Err(error))) => break error,
            },
            () = shares.changed() => on_news(None),
        }
    };
    while let Some(Some((_, outcome))) = running.next().now_or_never() {
        if let Ok(done) = outcome {
            on_news(Some(done));
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test]
    async fn every_piece_is_done_once_and_no_lane_has_two() {
        let (shares, busy) = (Shares::new(3), RefCell::new(vec![false; 3]));
        let most = Cell::new(0);
        let work = |lane: usize, piece: u64| {
            let (shares, busy, most) = (&shares, &busy, &most);
            async move {
                assert!(!std::mem::replace(&mut busy.borrow_mut()[lane], true));
                most.set(most.get().max(busy.borrow().iter().filter(|busy| **busy).count()));
                shares.set(lane, piece, 0);
                tokio::task::yield_now().await;
                busy.borrow_mut()[lane] = false;
                Ok(piece)
            }
        };
        let mut done = Vec::new();
        share_out(0..50, &shares, work, |news| done.extend(news)).await.unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..50).collect::<Vec<_>>());
        assert_eq!((most.get(), shares.done()), (3, 0));
    }

    #[tokio::test]
    async fn a_failure_ends_it_and_what_others_have_done_by_then_is_kept() {
        let shares = Shares::new(4);
        // All four end in the same moment, the first of them badly.
        let work = |_, piece: u64| async move {
            if piece == 0 { Err(JobError::Transient("lost".to_owned())) } else { Ok(piece) }
        };
        let mut done = Vec::new();
        let error = share_out(0..50, &shares, work, |news| done.extend(news)).await.unwrap_err();
        assert!(matches!(error, JobError::Transient(reason) if reason == "lost"));
        done.sort_unstable();
        assert_eq!(done, [1, 2, 3]);
    }
}

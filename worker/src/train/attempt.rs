//! One attempt's state on this worker, and what peers do to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use shoal_common::{store::LocalCache, tls::PeerRole};
use shoal_engine::{als::half_step::Kept, large_pages::LargePages};
use shoal_proto::v1::{
    FactorChunk, FactorRows, Side, SubscribeRowsRequest, TrainLoad, TrainLoadDone, TrainRoute,
    TrainRouteDone, WorkerPeer, factor_chunk::Content, worker_exchange_client::WorkerExchangeClient,
};

use super::{
    context::TrainContext,
    error::TrainError,
    held_memory::HeldMemory,
    load::{Loaded, load},
    load_sides::Sides,
    settings::Settings,
    training_side::{Factors, TrainingSide},
};
use crate::exchange::{
    push::{PushError, Receiver},
    wire,
};

/// One attempt of a training job on this worker.
#[derive(Debug)]
pub struct TrainAttempt {
    pub(super) context: TrainContext,
    pub(super) job_id: String,
    pub(super) attempt: u32,
    pub(super) peers: Vec<WorkerPeer>,
    pub(super) me: usize,
    pub(super) users: Arc<TrainingSide>,
    pub(super) items: Arc<TrainingSide>,
    sides: Arc<Sides>,
    /// The least and the greatest rating of the data set.
    pub(super) scale: [f64; 2],
    settings: RwLock<Settings>,
    user_factors: RwLock<Factors>,
    item_factors: RwLock<Factors>,
    exchange: Mutex<Exchange>,
    /// Room for the rotated rows of the next half-step; given back with the attempt.
    rotated: Mutex<LargePages>,
    _held: HeldMemory,
}

/// What peers have said so far.
#[derive(Debug)]
struct Exchange {
    routed: bool,
    /// Per side, the peers that need rows of it, in the order of the workers' list.
    receivers: [Vec<Option<Receiver>>; 2],
    /// Per side, the Gramian of each shard.
    gramians: [Vec<Vec<f64>>; 2],
    /// The last sweep that this worker has begun a half-step of.
    sweep: u32,
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Items)
}

impl TrainAttempt {
    /// Loads the owned blocks and the starting factors.
    ///
    /// # Errors
    /// When the request makes no sense, or a block is missing or damaged.
    pub async fn load(
        context: TrainContext,
        job_id: String,
        attempt: u32,
        step: TrainLoad,
    ) -> Result<(Arc<Self>, TrainLoadDone), TrainError> {
        let cache = LocalCache::open(context.job.folder.clone())?;
        let loaded = load(&context, &cache, step).await?;
        let done = TrainLoadDone {
            user_shards: loaded.user_stats(),
            rating_sums: loaded.sides.rating_sums.clone(),
            test_pairs: loaded.sides.users.held_out().items.len() as u64,
            memory_bytes: loaded.memory_bytes(),
            kernel: context.kernel.name().to_owned(),
            held_out: loaded.sides.held_out.clone(),
            held_out_users: loaded.sides.users.held_out().users(),
        };
        let held = HeldMemory::of(loaded.factor_bytes());
        let Loaded { settings, sides, scale, user_factors, item_factors } = loaded;
        let Sides { peers, me, users, items, .. } = sides.clone();
        let exchange = Exchange {
            routed: false,
            receivers: [vec![None; peers.len()], vec![None; peers.len()]],
            gramians: [users.shards.count(), items.shards.count()]
                .map(|shards| vec![Vec::new(); shards as usize]),
            sweep: 0,
        };
        let attempt = Self {
            context,
            job_id,
            attempt,
            peers,
            me,
            users,
            items,
            scale,
            sides: Arc::new(sides),
            settings: RwLock::new(settings),
            user_factors: RwLock::new(user_factors),
            item_factors: RwLock::new(item_factors),
            exchange: Mutex::new(exchange),
            rotated: Mutex::default(),
            _held: held,
        };
        Ok((Arc::new(attempt), done))
    }

    /// The ratings, for a measuring of what was trained on them.
    #[must_use]
    pub fn sides(&self) -> &Arc<Sides> {
        &self.sides
    }

    /// Tells every peer which of its rows this worker needs.
    ///
    /// # Errors
    /// When a peer cannot be reached or refuses.
    pub async fn route(&self, step: TrainRoute) -> Result<TrainRouteDone, TrainError> {
        self.settings.write().unwrap_or_else(PoisonError::into_inner).set_rating_mean(step.rating_mean);
        for side in [Side::Users, Side::Items] {
            for (worker, peer) in self.peers.iter().enumerate() {
                let (_, rows) = self.side(side).table.needed_of(worker);
                if rows.is_empty() {
                    continue;
                }
                let request = SubscribeRowsRequest {
                    cluster_id: self.context.job.cluster_id.clone(),
                    job_id: self.job_id.clone(),
                    attempt: self.attempt,
                    node: self.context.job.node.clone(),
                    side: side.into(),
                    rows: wire::to_bytes(rows),
                };
                self.subscribe_at(peer, request).await?;
            }
        }
        self.lock().routed = true;
        Ok(TrainRouteDone {
            remote_user_rows: self.users.table.remote_rows() as u64,
            remote_item_rows: self.items.table.remote_rows() as u64,
        })
    }

    async fn subscribe_at(&self, peer: &WorkerPeer, request: SubscribeRowsRequest) -> Result<(), PushError> {
        let channel = self
            .context
            .job
            .channels
            .get(&peer.address, PeerRole::Worker)
            .map_err(|source| PushError::Address { node: peer.node.clone(), source })?;
        // A list of row numbers can be longer than ordinary messages are allowed to be.
        let mut client = WorkerExchangeClient::new(channel).max_encoding_message_size(usize::MAX);
        let subscribed = client.subscribe_rows(request).await;
        subscribed
            .map(drop)
            .map_err(|status| PushError::Refused { node: peer.node.clone(), source: Box::new(status) })
    }

    /// Notes which of this worker's rows a peer needs.
    ///
    /// # Errors
    /// When the peer is unknown or asks for rows that are not owned here.
    pub fn subscribe(&self, request: &SubscribeRowsRequest) -> Result<(), TrainError> {
        let worker = self.peer(&request.node)?;
        let side = request.side();
        let training = self.side(side);
        let rows: Vec<u32> = wire::from_bytes(&request.rows)?;
        let mut own = Vec::with_capacity(rows.len());
        for row in rows {
            let position = training.owned.iter().find_map(|owned| {
                let global = training.shards.shard_rows(owned.shard);
                global.contains(&row).then(|| owned.rows.start + (row - global.start) as usize)
            });
            // Own rows are counted in a u32 as global ones are.
            own.push(
                position.ok_or_else(|| TrainError::Request(format!("row {row} is not owned here")))? as u32
            );
        }
        if !own.is_sorted_by(|a, b| a < b) {
            return Err(TrainError::Request("the rows asked for do not ascend".to_owned()));
        }
        let peer = &self.peers[worker];
        let receiver = Receiver { node: peer.node.clone(), address: peer.address.clone(), rows: own.into() };
        self.lock().receivers[index(side)][worker] = Some(receiver);
        Ok(())
    }

    /// Takes rows or a Gramian that a peer has sent, to where the next half-step reads them.
    ///
    /// # Errors
    /// When the message does not fit what was subscribed to, or is of an older sweep.
    pub fn receive(&self, chunk: &FactorChunk) -> Result<(), TrainError> {
        let side = chunk.side();
        let worker = self.peer(&chunk.node)?;
        if chunk.sweep < self.lock().sweep {
            return Err(TrainError::Request(format!("sweep {} is over", chunk.sweep)));
        }
        match &chunk.content {
            None => Err(TrainError::Request("a factor message is empty".to_owned())),
            Some(Content::Gramian(partial)) => {
                let values: Vec<f64> = wire::from_bytes(&partial.values)?;
                // What does not fit is as wrong as one of another shard: `put_gramian` says so.
                let gramian = wire::from_lower_triangle(&values, self.settings().rank).unwrap_or_default();
                self.put_gramian(side, partial.shard, gramian)
            }
            Some(Content::Rows(rows)) => self.receive_rows(side, worker, rows),
        }
    }

    fn receive_rows(&self, side: Side, worker: usize, rows: &FactorRows) -> Result<(), TrainError> {
        let (objective, width) = (rows.objective(), rows.width as usize);
        let (expected, format) = {
            let settings = self.settings();
            (settings.widths().contains(&(objective, width)), settings.exchange)
        };
        let (first, needed) = self.side(side).table.needed_of(worker);
        let count = rows.values.len() / (width * format.size()).max(1);
        let fits = usize::try_from(rows.first)
            .ok()
            .filter(|begin| begin.checked_add(count).is_some_and(|end| end <= needed.len()));
        let (true, Some(begin)) = (expected, fits) else {
            return Err(TrainError::Request("factor rows do not fit what was asked for".to_owned()));
        };
        let mut factors = self.factors_mut(side);
        let target = &mut factors.of_mut(objective)[(first + begin) * width..][..count * width];
        Ok(format.read(&rows.values, target)?)
    }

    pub(super) fn put_gramian(&self, side: Side, shard: u32, values: Vec<f64>) -> Result<(), TrainError> {
        let rank = self.settings().rank;
        let mut exchange = self.lock();
        match exchange.gramians[index(side)].get_mut(shard as usize) {
            Some(slot) if values.len() == rank * rank => {
                *slot = values;
                Ok(())
            }
            _ => Err(TrainError::Request(format!("the Gramian of shard {shard} does not fit"))),
        }
    }

    /// The Gramians of a side in shard order; `None` when one has not arrived.
    pub(super) fn gramians(&self, side: Side) -> Option<Vec<Vec<f64>>> {
        let exchange = self.lock();
        let partials = &exchange.gramians[index(side)];
        partials.iter().all(|partial| !partial.is_empty()).then(|| partials.clone())
    }

    /// Every other worker, with the rows of `side` that it needs of this one (perhaps none).
    pub(super) fn receivers(&self, side: Side) -> Result<Vec<Receiver>, TrainError> {
        let exchange = self.lock();
        if !exchange.routed {
            return Err(TrainError::OutOfTurn("rows were not routed yet"));
        }
        let peers = self.peers.iter().enumerate().filter(|(worker, _)| *worker != self.me);
        let receivers = peers.map(|(worker, peer)| {
            exchange.receivers[index(side)][worker].clone().unwrap_or_else(|| Receiver {
                node: peer.node.clone(),
                address: peer.address.clone(),
                rows: Arc::from([]),
            })
        });
        Ok(receivers.collect())
    }

    /// What the half-step before has kept for the next one.
    pub(super) fn take_kept(&self) -> Kept {
        Kept { room: std::mem::take(&mut self.rotated()), ..Kept::default() }
    }

    /// Keeps the room of a half-step that is over.
    pub(super) fn keep(&self, room: LargePages) {
        *self.rotated() = room;
    }

    fn rotated(&self) -> MutexGuard<'_, LargePages> {
        self.rotated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_sweep(&self, sweep: u32) {
        self.lock().sweep = sweep;
    }

    pub(super) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn side(&self, side: Side) -> &TrainingSide {
        if side == Side::Items { &self.items } else { &self.users }
    }

    pub(super) fn factors(&self, side: Side) -> RwLockReadGuard<'_, Factors> {
        self.factors_lock(side).read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn factors_mut(&self, side: Side) -> RwLockWriteGuard<'_, Factors> {
        self.factors_lock(side).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn factors_lock(&self, side: Side) -> &RwLock<Factors> {
        if side == Side::Items { &self.item_factors } else { &self.user_factors }
    }

    fn peer(&self, node: &str) -> Result<usize, TrainError> {
        let position = self.peers.iter().position(|peer| peer.node == node);
        position.ok_or_else(|| TrainError::Request(format!("worker '{node}' is not part of this attempt")))
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TrainAttempt {
    fn drop(&mut self) {
        // A leftover folder is emptied when the worker starts; there is nobody to tell here.
        let _ = std::fs::remove_dir_all(&self.context.job.folder);
    }
}

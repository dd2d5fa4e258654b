/** Starts wait behind wakes, each kind in order of arrival. */
export type StartPriority = 'wake' | 'start'

/**
 * Bounds how many containers start at once on a node: more than the machine has cores for only makes all of them
 * later (8 starts a second on two cores, whatever is asked).
 */
export type StartGate = {
  /** Runs `work` when the node has a turn for it. */
  run<T>(
    node: { uid: string; cpuMillis: number },
    priority: StartPriority,
    work: () => Promise<T>,
  ): Promise<T>
}

const startsPerCore = 2

/** Two per core, at least two; an unknown number of cores counts as two. */
export function startsAtOnce(cpuMillis: number): number {
  const cores = cpuMillis > 0 ? cpuMillis / 1000 : 2
  return Math.max(2, Math.round(cores * startsPerCore))
}

type Queue = { running: number; wakes: (() => void)[]; starts: (() => void)[] }

export function createStartGate(): StartGate {
  const queues = new Map<string, Queue>()

  function leave(uid: string, queue: Queue): void {
    const next = queue.wakes.shift() ?? queue.starts.shift()
    if (next !== undefined) return next()
    queue.running -= 1
    if (queue.running === 0) queues.delete(uid)
  }

  return {
    async run(node, priority, work) {
      const queue = queues.get(node.uid) ?? { running: 0, wakes: [], starts: [] }
      queues.set(node.uid, queue)
      if (queue.running < startsAtOnce(node.cpuMillis)) queue.running += 1
      else {
        const line = priority === 'wake' ? queue.wakes : queue.starts
        // The one who leaves hands the turn on, so the count stays.
        await new Promise<void>((resolve) => {
          line.push(resolve)
        })
      }
      try {
        return await work()
      } finally {
        leave(node.uid, queue)
      }
    },
  }
}

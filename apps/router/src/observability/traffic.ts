/** Seconds; from a warm request to a cold start behind a full queue. */
const latencyBounds = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

export type ServiceName = { project: string; service: string }

/** How long the answers of one class of status took. */
export class Latency {
  static readonly bounds: readonly number[] = latencyBounds
  /** How many were within each bound and above the one before; the last place is for all above. */
  readonly counts: number[] = [...latencyBounds, Infinity].map(() => 0)
  seconds = 0
  total = 0

  observe(seconds: number): void {
    let place = 0
    while (place < latencyBounds.length && seconds > (latencyBounds[place] ?? 0)) place += 1
    this.counts[place] = (this.counts[place] ?? 0) + 1
    this.seconds += seconds
    this.total += 1
  }
}

/** What happened to the requests for one service, in plain numbers: it is counted for every request. */
export class Traffic {
  readonly name: ServiceName
  /** By the first digit of the status, 1 to 5; made with the first answer of that class. */
  readonly answers: (Latency | undefined)[] = [
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
  ]
  wakes = 0
  ejections = 0

  constructor(name: ServiceName) {
    this.name = name
  }

  answered(status: number, seconds: number): void {
    const statusClass = classOf(status)
    const latency = (this.answers[statusClass] ??= new Latency())
    latency.observe(seconds)
  }
}

/** What got no answer at all counts as a fault of the server's side, as what no class is for does. */
function classOf(status: number): number {
  const first = Math.floor(status / 100)
  return first >= 1 && first <= 5 ? first : 5
}

/** When there are so few, nobody looks for those that are gone. */
const fewServices = 64

/**
 * The traffic of every service that is there, and of what was for none of them under names that are empty. What belongs
 * to deleted services goes: with `forgetDeleted`, and by itself before there are more than twice as many as there were.
 */
export class TrafficByService {
  readonly #services: () => Iterable<ServiceName>
  readonly #byProject = new Map<string, Map<string, Traffic>>()
  #size = 0
  #lookAgainAt = fewServices

  /** `services`: every service that has a host, once or more often. */
  constructor(services: () => Iterable<ServiceName>) {
    this.#services = services
  }

  of(project = '', service = ''): Traffic {
    return this.#byProject.get(project)?.get(service) ?? this.#add({ project, service })
  }

  *all(): Generator<Traffic> {
    for (const traffics of this.#byProject.values()) yield* traffics.values()
  }

  forgetDeleted(): void {
    const there = new Set<string>(['/'])
    for (const { project, service } of this.#services()) there.add(`${project}/${service}`)
    for (const [project, traffics] of this.#byProject) {
      for (const service of traffics.keys())
        if (!there.has(`${project}/${service}`) && traffics.delete(service)) this.#size -= 1
      if (traffics.size === 0) this.#byProject.delete(project)
    }
    this.#lookAgainAt = Math.max(fewServices, 2 * this.#size)
  }

  #add(name: ServiceName): Traffic {
    if (this.#size >= this.#lookAgainAt) this.forgetDeleted()
    const traffic = new Traffic(name)
    const traffics = this.#byProject.get(name.project) ?? new Map<string, Traffic>()
    this.#byProject.set(name.project, traffics.set(name.service, traffic))
    this.#size += 1
    return traffic
  }
}

import type { Duplex } from 'node:stream'
import { errorCatalogue, problem, problemContentType, type ErrorCode, type HostRoute } from '@berth/contracts'
import { maxPackedConcurrency } from '../admission/balance.ts'
import type { Claim, ReplicaUser } from '../admission/replica.ts'
import type { RevisionAdmission } from '../admission/revision.ts'
import type { Revisions } from '../admission/revisions.ts'
import type { Downstream, DownstreamEvents } from '../downstream/downstream.ts'
import type { EdgeLimits } from '../limits.ts'
import type { RouteTable } from '../routes/route-table.ts'
import { pickByWeight } from '../routes/weighted-pick.ts'
import type { UpstreamCall, UpstreamFailure, UpstreamListener } from '../upstream/upstream.ts'
import type { AccessLine, Outcome } from './access-line.ts'
import { affinityCookie, readAffinity, withoutAffinity, type Affinity } from './affinity.ts'
import { askerOf } from './asker.ts'
import { Attempt } from './attempt.ts'
import { answerTo, type Failure, type FailureAnswer } from './failure.ts'
import { grpcRefusal, isGrpc } from './grpc-refusal.ts'
import { headersForClient, headersForReplica, headerValue, trailersForClient, type Asker } from './headers.ts'
import { checkRequest, type Accepted, type Refused } from './request-check.ts'
import { RequestBody } from './request-body.ts'
import { mayRetry } from './retry.ts'
import { joinTunnel, type Tunnel } from './tunnel.ts'

/*
 * One request's life.
 *
 * received   checked, routed to a revision
 * waiting    in the queue of the revision, holds no slot
 * sending    holds a slot, no byte of an answer yet
 * answering  the head has come and goes to the client
 * leaving    the answer is complete and holds no slot; the client has not taken all of it yet
 * abandoned  the client is gone; the slot is kept until the app is done (concurrency 1 to 3 only)
 * ended      nothing is held any more, the access line is written
 *
 * received, waiting and sending end in an answer of the router when something fails; answering and leaving can only
 * break off.
 * sending goes back to waiting once, when the retry rule allows it.
 * waiting begins anew at another revision when the traffic leaves the one it waits for.
 */

export type ExchangeContext = {
  table(): RouteTable | undefined
  revisions: Revisions
  limits: EdgeLimits
  /** Requests without TLS are sent to this port; undefined when they are served as they are. */
  securePort?: number | undefined
  random(): number
  onBegin(exchange: Exchange): void
  onEnd(exchange: Exchange, line: AccessLine): void
}

const longestTimerMs = 2 ** 31 - 1
/** A client gets this long to take an answer of the router itself. */
const refusalDeadlineMs = 10_000

export class Exchange implements DownstreamEvents, UpstreamListener, ReplicaUser {
  readonly #context: ExchangeContext
  readonly #downstream: Downstream
  readonly #startedAt = performance.now()
  readonly #asker: Asker
  /** Undefined without one. */
  #body: RequestBody | undefined
  #accepted: Accepted | undefined
  #route: HostRoute | undefined
  /** Which revision and replica the client asks to be led back to. */
  #affinity: Affinity | undefined
  #revision: RevisionAdmission | undefined
  #timer: NodeJS.Timeout | undefined
  #claim: Claim | undefined
  /** The last one. */
  #attempt: Attempt | undefined
  #call: UpstreamCall | undefined
  #leaveQueue: (() => void) | undefined
  #tunnel: Duplex | undefined
  #joined: Tunnel | undefined
  #retries = 0
  #queuedMs = 0
  #status = 0
  #code: ErrorCode | undefined
  #bytes = 0
  #abandoned = false
  #ended = false

  constructor(context: ExchangeContext, downstream: Downstream) {
    this.#context = context
    this.#downstream = downstream
    this.#asker = askerOf(downstream.head.rawHeaders, downstream.peer)
  }

  /** A WebSocket gets close frames 1001 on both sides, and 60 s; nothing else is touched. */
  askTunnelToClose(): void {
    this.#joined?.goAway()
  }

  get #isSticky(): boolean {
    return this.#route?.affinity === 'cookie'
  }

  /** `refusal`: it is known already that its body cannot be understood. */
  begin(refusal?: Refused): void {
    this.#context.onBegin(this)
    this.#downstream.listen(this)
    const { head, isWhole, peer } = this.#downstream
    const accepted = refusal ?? checkRequest(head, isWhole, this.#context.limits, peer.serverName)
    if (accepted.kind === 'refused') return this.#fail(accepted)
    this.#accepted = accepted
    if (accepted.bodyBytes > 0) this.#body = new RequestBody(this.#downstream)
    const table = this.#context.table()
    if (!table) return this.#fail({ kind: 'no-table' })
    const route = table.hosts.get(accepted.host)
    if (!route || accepted.target === '*') return this.#fail({ kind: 'unknown-host', host: accepted.host })
    this.#route = route
    const secure = this.#secureLocation(accepted)
    if (secure !== undefined) return this.#fail({ kind: 'plain-http', location: secure })
    if (this.#isSticky) this.#affinity = readAffinity(this.#downstream.head.rawHeaders)
    this.#revision = this.#revisionOf(route)
    if (!this.#revision) return this.#fail({ kind: 'unknown-revision' })
    const { timeoutMs, maxRequestBytes: maxBytes } = this.#revision.route
    if (maxBytes !== undefined) {
      if (accepted.bodyBytes > maxBytes && accepted.bodyBytes !== Number.POSITIVE_INFINITY)
        return this.#fail({ kind: 'body-too-large', maxBytes })
      this.#body?.limit(maxBytes, () => this.#breakRequest({ kind: 'body-too-large', maxBytes }))
    }
    this.#timer = setTimeout(() => this.#timedOut(timeoutMs), Math.min(timeoutMs, longestTimerMs))
    this.#enter(this.#revision)
  }

  /** Where a request that came without TLS belongs, if it has to. A trusted proxy may have ended TLS already. */
  #secureLocation({ host, target }: Accepted): string | undefined {
    const { securePort } = this.#context
    if (securePort === undefined || this.#asker.scheme === 'https') return undefined
    const first = headerValue(this.#downstream.head.rawHeaders, 'x-forwarded-proto')
    if (this.#asker.trusted && first?.toLowerCase() === 'https') return undefined
    return `https://${host}${securePort === 443 ? '' : `:${securePort}`}${target}`
  }

  /** Its body, or what follows it on the connection, cannot be understood. */
  clientBroke(refusal: Refused): void {
    if (this.#downstream.isWhole || this.#code !== undefined) return this.#downstream.closeAfterwards()
    this.#breakRequest(refusal)
  }

  /** The request can never be whole. */
  #breakRequest(failure: Failure): void {
    this.#leaveQueue?.()
    this.#leaveQueue = undefined
    this.#call?.abort()
    this.#release()
    if (this.#status === 0) return this.#fail(failure)
    this.#downstream.reset()
    this.#end('client-gone')
  }

  /** Breaks the request off, whatever it is doing: the router ends. */
  breakOff(): void {
    this.#call?.abort()
    this.#tunnel?.destroy()
    this.#downstream.reset()
    this.#end('broken-off')
  }

  #revisionOf(route: HostRoute): RevisionAdmission | undefined {
    const { revisions } = this.#context
    if (this.#affinity)
      for (const { revision, percent } of route.targets) {
        const kept = percent > 0 ? revisions.get(revision) : undefined
        if (kept?.affinityToken === this.#affinity.revision) return kept
      }
    const target = pickByWeight(route.targets, this.#context.random())
    return target && revisions.get(target.revision)
  }

  #enter(revision: RevisionAdmission): void {
    const preferred = this.#affinity?.replica
    const claim = revision.tryClaim({ again: this.#retries > 0, preferred })
    if (claim) return this.#send(claim)
    const since = performance.now()
    let waiting = true
    const stopWaiting = () => {
      waiting = false
      this.#leaveQueue = undefined
      this.#queuedMs += performance.now() - since
    }
    const queueDeadlineMs = Math.max(0, revision.route.queueDeadlineMs - this.#queuedMs)
    const leave = revision.wait({
      bytes: this.#heldBytes(),
      deadlineMs: Math.min(queueDeadlineMs, longestTimerMs),
      grant: (granted) => {
        stopWaiting()
        this.#send(granted)
      },
      refuse: (refusal) => {
        stopWaiting()
        if (refusal.kind === 'withdrawn') this.#enterElsewhere(revision)
        else this.#fail(refusal)
      },
    })
    if (waiting) this.#leaveQueue = leave
  }

  /** A deployment has shifted the traffic while the request waited: it goes where the next table sends its host. */
  #enterElsewhere(before: RevisionAdmission): void {
    // Whoever withdraws is still taking the new table over.
    setImmediate(() => {
      if (this.#ended || this.#status !== 0) return
      const route = this.#context.table()?.hosts.get(this.#accepted?.host ?? '')
      const revision = route && this.#revisionOf(route)
      if (!revision || revision === before) return this.#fail({ kind: 'withdrawn' })
      this.#revision = revision
      this.#enter(revision)
    })
  }

  #send(claim: Claim): void {
    const accepted = this.#accepted
    if (!accepted || this.#ended) return claim.release()
    this.#claim = claim
    this.#call = undefined
    const body = this.#body?.open() ?? null
    // Its body was too large already.
    if (this.#claim !== claim) return
    this.#attempt = new Attempt(claim.replica.id)
    const call = claim.replica.upstream.send(
      {
        method: this.#downstream.head.method,
        path: accepted.target,
        headers: headersForReplica(this.#headersOfClient(), this.#asker),
        body,
        upgrade: this.#downstream.upgrade !== undefined,
      },
      this,
    )
    if (this.#claim === claim) {
      this.#call = call
      claim.replica.addUser(this)
    }
  }

  replicaLost(): void {
    this.#tunnel?.destroy()
    this.#call?.breakOff('the node of the replica is down')
  }

  #headersOfClient(): readonly string[] {
    const { rawHeaders } = this.#downstream.head
    return this.#isSticky ? withoutAffinity(rawHeaders) : rawHeaders
  }

  /** With where to come back to, unless the client knows. */
  #headersForClient(headers: string[]): string[] {
    if (!this.#isSticky || !this.#claim || !this.#revision) return headersForClient(headers)
    const revision = this.#revision.affinityToken
    const replica = this.#revision.affinityTokenOf(this.#claim)
    if (this.#affinity?.revision === revision && this.#affinity.replica === replica)
      return headersForClient(headers)
    return headersForClient([...headers, 'Set-Cookie', affinityCookie({ revision, replica })])
  }

  head(status: number, text: string, headers: string[]): void {
    this.#replicaAnswers(status)
    this.#status = status
    this.#attempt?.headCame()
    if (this.#abandoned) return
    this.#closeWhenNeeded()
    if (this.#downstream.writeHead(status, text, this.#headersForClient(headers))) return
    this.#status = 0
    this.#call?.abort()
    this.#release()
    this.#fail({
      kind: 'upstream',
      failure: { kind: 'protocol', written: true, received: true, message: 'header refused' },
    })
  }

  data(chunk: Buffer): boolean {
    if (this.#abandoned || this.#ended) return true
    this.#bytes += chunk.length
    return this.#downstream.write(chunk)
  }

  end(trailers: readonly string[]): void {
    this.#release()
    if (this.#abandoned) return this.#end('client-gone')
    this.#downstream.end(trailersForClient(trailers))
  }

  upgraded(headers: string[], socket: Duplex): void {
    this.#replicaAnswers(101)
    this.#open(headers, socket)
  }

  #replicaAnswers(status: number): void {
    if (this.#claim) this.#revision?.succeeded(this.#claim, status)
  }

  #open(headers: string[], socket: Duplex): void {
    const { upgrade } = this.#downstream
    if (!upgrade || this.#ended) {
      socket.destroy()
      return this.#end('client-gone')
    }
    this.#status = 101
    this.#attempt?.headCame()
    this.#tunnel = socket
    const tunnel = joinTunnel(
      upgrade,
      this.#headersForClient(headers),
      socket,
      this.#context.limits.webSocketIdleSeconds,
      () => {
        stopListening?.()
        this.#release()
        this.#end('answered')
      },
    )
    this.#joined = tunnel
    const stopListening = this.#claim?.replica.onLeave(() => tunnel.goAway())
  }

  failed(failure: UpstreamFailure): void {
    const revision = this.#revision
    const claim = this.#claim
    const answered = this.#status !== 0
    // The client's own fault breaks the body, not the replica.
    const clientBroke = this.#downstream.isGone && !this.#downstream.isWhole
    const replicaBroke = failure.kind === 'connect' || failure.kind === 'died'
    if (replicaBroke && !clientBroke && !answered && claim) revision?.failed(claim, failure.kind)
    this.#release()
    if (this.#ended) return
    if (this.#abandoned) return this.#end('client-gone')
    if (answered) {
      this.#downstream.reset()
      return this.#end('broken-off')
    }
    const again = mayRetry({
      method: this.#downstream.head.method,
      retries: this.#retries,
      failure,
      bodyCanRestart: this.#body?.canRestart ?? true,
    })
    if (!again || clientBroke || !revision) return this.#fail({ kind: 'upstream', failure })
    this.#retries += 1
    this.#enter(revision)
  }

  #timedOut(timeoutMs: number): void {
    // Nothing has been sent: the wait for a slot used the whole time up, which is no fault of the app.
    if (this.#leaveQueue && this.#revision) {
      this.#leaveQueue()
      this.#leaveQueue = undefined
      return this.#fail(this.#revision.deadlineRefusal())
    }
    this.#call?.abort()
    this.#tunnel?.destroy()
    this.#release()
    if (this.#abandoned) return this.#end('client-gone')
    if (this.#status === 0) return this.#fail({ kind: 'timed-out', timeoutMs })
    this.#downstream.reset()
    this.#end('timed-out')
  }

  taken(): void {
    this.#end(this.#code === undefined ? 'answered' : 'refused')
  }

  drained(): void {
    this.#call?.resume()
  }

  /** Up to concurrency 3 the slot stays taken until the app is done: it may be computing still. */
  gone(): void {
    if (this.#ended || this.#tunnel || this.#abandoned) return
    this.#leaveQueue?.()
    const concurrency = this.#revision?.route.concurrency ?? 0
    const packed = concurrency >= 1 && concurrency <= maxPackedConcurrency
    const sentWhole = this.#body?.complete ?? true
    if (this.#claim && packed && sentWhole && !this.#downstream.upgrade) {
      this.#abandoned = true
      this.#call?.resume()
      return
    }
    this.#call?.abort()
    this.#release()
    this.#end('client-gone')
  }

  #fail(failure: Failure): void {
    if (this.#ended || this.#code !== undefined) return
    const answer = answerTo(failure)
    if (answer.close) this.#downstream.closeAfterwards()
    this.#closeWhenNeeded(true)
    this.#body?.abandon()
    this.#code = answer.code
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#timedOut(refusalDeadlineMs), refusalDeadlineMs)
    this.#refuse(answer)
  }

  #refuse({ code, detail, retryAfterSeconds, location }: FailureAnswer): void {
    const { status } = errorCatalogue[code]
    const { requestId } = this.#asker
    const headers = ['x-request-id', requestId]
    if (retryAfterSeconds !== undefined) headers.push('retry-after', String(retryAfterSeconds))
    if (location !== undefined) headers.push('location', location)
    if (status === 405) headers.push('allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS')
    this.#status = status
    if (isGrpc(this.#downstream.head.rawHeaders)) {
      this.#downstream.writeHead(200, '', [...grpcRefusal(status, detail), ...headers])
      return this.#downstream.end([])
    }
    const body = Buffer.from(JSON.stringify(problem(code, detail, requestId)))
    const content = ['content-type', problemContentType, 'content-length', String(body.length)]
    this.#downstream.writeHead(status, '', [...content, ...headers])
    this.#downstream.write(body)
    this.#downstream.end([])
  }

  #closeWhenNeeded(failed = this.#status >= 400): void {
    const bodyUnread = this.#body !== undefined && !this.#downstream.isWhole
    if ((failed && bodyUnread) || this.#downstream.upgrade) this.#downstream.closeAfterwards()
  }

  #release(): void {
    const claim = this.#claim
    if (!claim) return
    this.#claim = undefined
    claim.replica.removeUser(this)
    this.#attempt?.ended()
    claim.release()
  }

  #end(outcome: Outcome): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    this.#release()
    this.#count(outcome)
    this.#context.onEnd(this, {
      outcome,
      requestId: this.#asker.requestId,
      traceparent: this.#asker.traceparent,
      protocol: `HTTP/${this.#downstream.head.httpVersion}`,
      method: this.#downstream.head.method,
      host: this.#accepted?.host ?? '',
      path: (this.#accepted?.target ?? '').split('?', 1)[0] ?? '',
      status: outcome === 'client-gone' && this.#status === 0 ? 499 : this.#status,
      ms: performance.now() - this.#startedAt,
      queuedMs: this.#queuedMs,
      upstreamHeadMs: this.#attempt?.headMs,
      upstreamMs: this.#attempt?.ms,
      bytes: this.#bytes,
      receivedBytes: this.#body?.receivedBytes ?? 0,
      retries: this.#retries,
      project: this.#route?.project,
      service: this.#route?.service,
      revision: this.#revision?.route.name,
      replica: this.#attempt?.replica,
      code: this.#code,
    })
  }

  /** For the revision: what its replicas have made of the request. What the router or the client ended is no answer. */
  #count(outcome: Outcome): void {
    const brokeOff =
      outcome === 'broken-off' || this.#code === 'bad-gateway' || this.#code === 'request-timeout'
    if (!brokeOff && outcome !== 'answered') return
    this.#revision?.answered({ failed: brokeOff || this.#status >= 500 })
  }

  /** What a waiting request keeps in memory: its head, what is read of its body at most, what is kept of it. */
  #heldBytes(): number {
    const bodyBytes = this.#accepted?.bodyBytes ?? 0
    let bytes = 1024 + (this.#body?.keptBytes ?? 0)
    for (const part of this.#downstream.head.rawHeaders) bytes += part.length
    return bytes + Math.min(bodyBytes, this.#downstream.maxHeldBytes)
  }
}

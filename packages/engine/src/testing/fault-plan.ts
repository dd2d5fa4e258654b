/**
 * What goes wrong with a call:
 * `fail` answers with a status and message, nothing happens.
 * `cut`  does what was asked and breaks the connection instead of answering.
 * `drop` breaks the connection, nothing happens.
 * `hang` does nothing and never answers, until `release`.
 * `delay` waits, then goes on as usual.
 */
export type Fault =
  | { kind: 'fail'; status: number; message: string }
  | { kind: 'cut' }
  | { kind: 'drop' }
  | { kind: 'hang' }
  | { kind: 'delay'; ms: number }

type Planned = { pattern: RegExp; fault: Fault; left: number }

/** Faults by route, for example `POST /containers/create` or `POST /networks/create`; a star is one segment. */
export class FaultPlan {
  readonly #planned: Planned[] = []

  add(route: string, fault: Fault, times = Infinity): void {
    const [method = '', path = ''] = route.split(' ')
    const source = path
      .split('*')
      .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('[^/]+')
    this.#planned.push({ pattern: new RegExp(`^${method} ${source}$`), fault, left: times })
  }

  /** The fault of this call, which uses it up once. The first planned goes first. */
  take(method: string, path: string): Fault | undefined {
    const found = this.#planned.find((each) => each.left > 0 && each.pattern.test(`${method} ${path}`))
    if (found !== undefined) found.left -= 1
    return found?.fault
  }

  clear(): void {
    this.#planned.length = 0
  }
}

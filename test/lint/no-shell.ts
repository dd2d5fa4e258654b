/* A rule of our own for the linter: nobody asks for a shell between Berth and a program. */

type Node = {
  key: { name?: string; value?: unknown }
  value: { type: string; value?: unknown }
}
type Context = { report(problem: { node: unknown; message: string }): void }

const noShell = {
  create: (context: Context) => ({
    Property(node: Node) {
      const name = node.key.name ?? node.key.value
      if (name !== 'shell' || node.value.value === false) return
      context.report({ node, message: 'No shell string anywhere: programs get their arguments as a list.' })
    },
  }),
}

export default { meta: { name: 'berth' }, rules: { 'no-shell': noShell } }

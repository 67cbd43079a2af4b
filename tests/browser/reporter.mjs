// Prints each test, what has failed, and a last line in the form of cargo's.

export default async function* report(events) {
  const count = { 'test:pass': 0, 'test:fail': 0 }
  for await (const { type, data } of events) {
    if (!(type in count) || data.details?.type === 'suite' || data.skip !== undefined) continue
    count[type] += 1
    const seconds = (data.details.duration_ms / 1000).toFixed(1)
    yield `test ${data.name} ... ${type === 'test:pass' ? 'ok' : 'FAILED'} (${seconds} s)\n`
    if (type === 'test:fail') {
      const error = data.details.error
      yield `${(error?.cause ?? error)?.stack ?? error}\n`
    }
  }
  const passed = count['test:pass']
  const failed = count['test:fail']
  yield `\ntest result: ${failed || !passed ? 'FAILED' : 'ok'}. ${passed} passed; ${failed} failed\n`
}

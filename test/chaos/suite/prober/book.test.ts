import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Book } from './book.ts'

/** A book with a clock that stands until it is moved. */
function openBook() {
  let at = 1000
  const book = new Book(() => at)
  return { book, wait: (ms: number) => (at += ms) }
}

test('an exchange counts once, whatever is said of it later', () => {
  const { book } = openBook()
  const entry = book.enter('post')
  entry.fail('reset')
  entry.succeed('replica')
  entry.fail('again')
  expect(book.peek()).toMatchObject({ sent: 1, failed: 1, failures: [{ why: 'reset' }], lastAnswers: {} })
})

test('an exchange belongs to the tally in which it ends', () => {
  const { book } = openBook()
  const slow = book.enter('slow request')
  expect(book.turn()).toMatchObject({ sent: 0 })
  slow.succeed()
  expect(book.turn()).toMatchObject({ sent: 1, failed: 0 })
  expect(book.peek()).toMatchObject({ sent: 0 })
})

test('the longest gap is measured between right answers, and up to the end', () => {
  const { book, wait } = openBook()
  wait(30)
  book.enter('keep-alive').succeed('a')
  wait(200)
  book.enter('keep-alive').fail('reset')
  book.enter('websocket').succeed()
  wait(50)
  book.enter('new connection').succeed('a')
  expect(book.peek().longestGapMs).toBe(250)
  wait(400)
  expect(book.turn().longestGapMs).toBe(400)
  expect(book.peek().longestGapMs).toBe(0)
})

test('who answered is known with the time at which its last request was sent', () => {
  const { book, wait } = openBook()
  const early = book.enter('keep-alive')
  wait(10)
  const late = book.enter('keep-alive')
  late.succeed('a')
  early.succeed('a')
  expect(book.peek().lastAnswers).toEqual({ a: 1010 })
})

test('a message is as old as its connection', () => {
  const { book, wait } = openBook()
  wait(5000)
  book.enter('websocket', 1200).fail('no echo')
  expect(book.peek().failures).toMatchObject([{ sentAt: 1200, failedAt: 6000 }])
})

test('settling waits for what is under way, and not for what begins later', async () => {
  const { book } = openBook()
  const slow = book.enter('slow request')
  let settled = false
  const settling = book.settle().then(() => (settled = true))
  book.enter('keep-alive')
  await delay(5)
  expect(settled).toBe(false)
  slow.succeed()
  await settling
  expect(book.underWay).toBe(1)
})

test('what is dropped counts neither way, and is waited for no longer', async () => {
  const { book } = openBook()
  const entry = book.enter('websocket')
  entry.drop()
  entry.fail('too late')
  await book.settle()
  expect(book.peek()).toMatchObject({ sent: 0, failed: 0 })
})

'use strict'

/** Deletes expired sessions from time to time, with a timer that keeps no process alive. */
class Pruning {
  #database
  #delay
  #errorLog
  #timer = null
  #isClosed = false

  /**
   * @param {import('./database').Database} database
   * @param {(() => number)|null} delay Milliseconds until the next time; null for never.
   * @param {(...values: unknown[]) => void} errorLog
   */
  constructor(database, delay, errorLog) {
    this.#database = database
    this.#delay = delay
    this.#errorLog = errorLog
  }

  /** Sets the timer, unless it is set. */
  schedule() {
    if (this.#timer !== null || this.#delay === null || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.run().catch((error) => this.#errorLog('qsessions: expired sessions cannot be deleted:', error))
    }, this.#delay())
    this.#timer.unref()
  }

  /** Deletes all expired sessions in batches, each in a transaction of its own. */
  async run() {
    this.#stop()
    try {
      while (await this.#database.value('purge') !== '0') if (this.#isClosed) return
    } finally {
      this.schedule()
    }
  }

  close() {
    this.#isClosed = true
    this.#stop()
  }

  #stop() {
    clearTimeout(this.#timer)
    this.#timer = null
  }
}

module.exports = { Pruning }

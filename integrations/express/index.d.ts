/// <reference types="node" />

import { ClientBase, Pool, PoolConfig } from 'pg'
import * as express from 'express'
import * as session from 'express-session'

/** The data of a session, as an application declares it by merging into SessionData. */
type Data = session.SessionData & { [name: string]: unknown }

type UserId = string | number | bigint

export interface QsessionsStoreOptions {
  /** The pool to use. Without one, the store makes a pool of its own. */
  pool?: Pick<Pool, 'query' | 'connect'> | undefined
  /** The configuration of the store's own pool. */
  conObject?: PoolConfig | undefined
  /** The URL of the database for the store's own pool; by default that in DATABASE_URL. */
  conString?: string | undefined
  /** The lifetime, in seconds, of a session whose cookie ends with the browser. Default: one day. */
  ttl?: number | undefined
  /** A session ends so many seconds after it began or logged in, however active it is. Default: never. */
  absoluteTimeout?: number | undefined
  /** With true, a visit does not move the expiry of a session; only a save does. Default: false. */
  disableTouch?: boolean | undefined
  /** A login ends the sessions of the user beyond this number that were unseen longest. Default: no limit. */
  maxSessions?: number | undefined
  /**
   * Returns the user whom the data of a session names, for applications and libraries that keep the
   * user there, for example `(session) => session.passport?.user`.
   */
  userOf?: ((session: Data) => UserId | null | undefined) | undefined
  /** Seconds between deletions of expired sessions; false for none. Default: 900. */
  pruneSessionInterval?: number | false | undefined
  /**
   * Returns the milliseconds to wait instead of the interval, which it gets. Default: at random
   * between 50 and 150 percent of it; false for the interval itself.
   */
  pruneSessionRandomizedInterval?: ((delay: number) => number) | false | undefined
  /** Is called with errors that belong to no request. Default: console.error. */
  errorLog?: ((...values: unknown[]) => void) | undefined
  /**
   * With true, saving a session that has ended since it was loaded is the error SessionEnded. By
   * default the change is dropped.
   */
  errorOnEnded?: boolean | undefined
  /** With false, statements have no names, for PgBouncer before 1.21. Default: true. */
  preparedStatements?: boolean | undefined
  /**
   * Creates the session table if it is missing; a text is the name of the users table that it refers
   * to. The role must be allowed to. Default: false.
   */
  createTableIfMissing?: boolean | string | undefined
  /** A table of connect-pg-simple, whose sessions are moved here when their cookies arrive. */
  importFrom?: { schemaName?: string | undefined, tableName?: string | undefined } | undefined
  /** Accepted for connect-pg-simple's sake: the schema is always that of the extension. */
  schemaName?: 'qsessions' | undefined
}

/** A store for express-session that keeps sessions in PostgreSQL with qsessions. */
export class QsessionsStore extends session.Store {
  constructor(options?: QsessionsStoreOptions)
  get(sid: string, callback: (error: any, session?: session.SessionData | null) => void): void
  set(sid: string, session: session.SessionData, callback?: (error?: any) => void): void
  touch(sid: string, session: session.SessionData, callback?: (error?: any) => void): void
  destroy(sid: string, callback?: (error?: any) => void): void
  /** The live sessions by their public ids. The database does not know their keys. */
  all(callback: (error: any, sessions?: { [id: string]: session.SessionData } | null) => void): void
  length(callback: (error: any, length?: number) => void): void
  clear(callback?: (error?: any) => void): void
  /** Deletes the rows of expired sessions. */
  pruneSessions(callback?: (error?: any) => void): void
  /** Stops deleting expired sessions, and closes the pool if the store has made it. */
  close(): Promise<void>
  /** Is emitted with its public id when a change of a session is dropped, because it has ended. */
  on(event: 'ended', listener: (id: string) => void): this
  on(event: string | symbol, listener: (...values: any[]) => void): this
}

/** A session has ended since it was loaded. */
export class SessionEnded extends Error {
  readonly code: 'QS001'
}

/** Makes a key in the format of qsessions. It is meant for the option `genid` of express-session. */
export function generateKey(): string

export interface VisitorOptions {
  /** Whether responses ask browsers for the client hints that name the device. Default: true. */
  acceptClientHints?: boolean | undefined
  /** Returns the address of the client. Default: `req.ip`, which is that of Express. */
  address?: ((req: express.Request) => string | null | undefined) | undefined
}

/** A middleware that asks browsers for client hints, and finds the address of the client in another way. */
export function visitor(options?: VisitorOptions): express.RequestHandler

export interface LoginOptions {
  /** Overrules the option of the store. */
  maxSessions?: number | undefined
}

export interface Login {
  /** The public id of the session. */
  id: string
  /** Whether the user has not used this device before; null if no events are recorded. */
  isNewDevice: boolean | null
  /** Whether the user has not been at this place before; null if that is not known. */
  isNewPlace: boolean | null
}

/**
 * Gives the session of a request to a user, under a new key. `req.session` is another object
 * afterwards. Anonymous data stays; that of another user does not.
 */
export function login(req: express.Request, userId: UserId, options?: LoginOptions): Promise<Login>

/** Ends the session of a request. */
export function logout(req: express.Request): Promise<void>

/** The user of the session of a request, or null. */
export function userId(req: express.Request): string | null

export interface Device {
  /** The public id of the session, for revoke(). */
  id: string
  /** For example `iPhone / iOS 17.1 / Safari 17.1`; null if the browser has not said. */
  device: string | null
  /** City and country; null without a GeoIP database. */
  location: string | null
  ip: string | null
  userAgent: string | null
  createdAt: Date
  authenticatedAt: Date | null
  lastSeenAt: Date
  /** Null for a session that never expires. */
  expiresAt: Date | null
  /** Whether it is the session of the request. */
  isCurrent: boolean
}

/** The live sessions of the user of a request, last seen first. */
export function devices(req: express.Request): Promise<Device[]>

/** Ends a session of the user of a request by its public id. False if the user has no such session. */
export function revoke(req: express.Request, id: unknown): Promise<boolean>

/** Ends all sessions of the user but that of the request. Returns how many. */
export function revokeOthers(req: express.Request): Promise<number>

/**
 * Gives the session of a request a new key. `req.session` is another object afterwards.
 *
 * @throws SessionEnded
 */
export function rotateKey(req: express.Request): Promise<void>

export interface ImportReport {
  moved: number
  /** The key had a session in qsessions already. */
  present: number
  expired: number
  undecodable: number
  /** The user does not exist, the key is too short, or the data too large. */
  refused: number
}

export interface ImportOptions {
  schemaName?: string | undefined
  tableName?: string | undefined
  /** Whether the sessions stay in the old table, too. Default: false. */
  keep?: boolean | undefined
  userOf?: ((session: Data) => UserId | null | undefined) | undefined
  /** Rows of a transaction. Default: 1000. */
  batchSize?: number | undefined
  /** Is called after each transaction. */
  onProgress?: ((report: ImportReport) => void) | undefined
}

/** Moves the sessions of connect-pg-simple's table to qsessions, as the command does. */
export function importSessions(client: ClientBase, options?: ImportOptions): Promise<ImportReport>

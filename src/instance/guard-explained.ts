import { readRateLimit } from '../config/rate-limit.ts'
import { ConfigError } from '../errors/errors.ts'
import { PathList } from '../guard/patterns.ts'
import { readingsOf } from '../guard/readings.ts'
import { Routes } from '../guard/routes.ts'
import { limitsFor, meansEverything, type Rule, Rules } from '../guard/rules.ts'
import { DEFAULT_PATHS } from './guard.ts'
import { GUARD_OPTIONS, type GuardOptions } from './guard-options.ts'

/** A limit in words: `60/minute`, `generate: 10 a month, sliding`. */
export type LimitInWords = string

export interface ExplainedRule {
  /** As it was written; `*` for the default rule. */
  readonly pattern: string
  /** Whether it is the default rule, which nobody wrote. */
  readonly isDefault: boolean
  /** Whether its limits follow the caller: those shown are of somebody of whom nothing is known. */
  readonly byCaller: boolean
  readonly anonymous: readonly LimitInWords[]
  readonly signedIn: readonly LimitInWords[]
}

export interface ExplainedPath {
  readonly method: string
  /** Every path that a router may take the target for; `any` where it is too long to be read in every way. */
  readonly readings: readonly string[] | 'any'
  readonly isApi: boolean
  /** Why no limit holds, where none does. */
  readonly free: 'health' | 'public' | 'OPTIONS' | undefined
  /** What holds; with several readings the limits of all of them. */
  readonly rule: ExplainedRule
  /** In a sentence. */
  readonly why: string
}

/**
 * A guard's rules as it reads them, the most specific first, and what holds for a path (`/api/chat`, `POST /api/chat`),
 * and why. Nothing is opened or counted. Throws ConfigError as `createGuard`.
 */
export function explainGuard(
  options: GuardOptions = {},
  path?: string,
): { readonly rules: readonly ExplainedRule[]; readonly path?: ExplainedPath } {
  GUARD_OPTIONS.check(options)
  const rules = new Rules(options.rules, readRateLimit())
  const routes = new Routes(rules, {
    healthPaths: new PathList(options.healthPaths ?? DEFAULT_PATHS.healthPaths, 'healthPaths'),
    publicPaths: new PathList(options.publicPaths ?? DEFAULT_PATHS.publicPaths, 'publicPaths'),
    apiPrefixes: options.apiPrefixes ?? DEFAULT_PATHS.apiPrefixes,
  })
  const all = rules.all.map(explained)
  if (path === undefined) return { rules: all }
  const [, method = 'GET', target] = /^(?:([A-Z]+)\s+)?(.+)$/s.exec(path) ?? []
  if (target === undefined) throw new ConfigError('path', "explainGuard takes a path: '/api/chat' or 'POST /api/chat'")
  const route = routes.of(target)
  const readings = readingsOf(target)
  const rule = route.ruleFor(method)
  const isFree = method === 'OPTIONS' && rule.pattern.method !== 'OPTIONS'
  const free = route.isHealth ? 'health' : route.isPublic ? 'public' : isFree ? 'OPTIONS' : undefined
  return {
    rules: all,
    path: {
      method,
      readings: readings === 'any' ? readings : readings.map((segments) => `/${segments.join('/')}`),
      isApi: route.isApi,
      free,
      rule: explained(rule),
      why: whyOf(free, rule, readings === 'any' ? Number.POSITIVE_INFINITY : readings.length),
    },
  }
}

function explained(rule: Rule): ExplainedRule {
  return {
    pattern: rule.pattern.text,
    isDefault: !rule.own,
    byCaller: rule.byCaller !== undefined,
    anonymous: limitsFor(rule, {}, false).map(inWords),
    signedIn: limitsFor(rule, {}, true).map(inWords),
  }
}

function inWords({ name, limit, windowMs, sliding, cost, onStoreError }: Rule['anonymous'][number]): LimitInWords {
  const window = windowMs === 'month' ? 'month' : (UNITS[windowMs] ?? `${windowMs} ms`)
  const points = cost === 1 ? '' : typeof cost === 'number' ? `, ${cost} points a request` : ', points by request'
  const store = onStoreError === 'local' ? '' : `, ${onStoreError} without its store`
  const own = `${limit}/${window}`
  return `${name === own ? own : `${name}: ${own}`}${sliding && !name.includes('sliding') ? ', sliding' : ''}${points}${store}`
}

const UNITS: Readonly<Record<number, string>> = {
  1000: 'second',
  60000: 'minute',
  3600000: 'hour',
  86400000: 'day',
}

function whyOf(free: ExplainedPath['free'], rule: Rule, readings: number): string {
  if (free === 'health') return 'a health path: it is answered whatever happens'
  if (free === 'public') return 'a public path: no limit holds'
  if (free === 'OPTIONS') return 'OPTIONS has no limit, unless a rule names it'
  if (readings === Number.POSITIVE_INFINITY) return 'too long to be read in every way a router may, so every rule holds'
  if (readings > 1) return `routers may read it in ${readings} ways, so the limits of each hold`
  if (!rule.own) return 'no pattern of yours means it, so the default rule holds'
  if (meansEverything(rule.pattern)) return 'no other pattern means it'
  return 'the most specific pattern that means it'
}

/** One thing that was looked at. `change` says what to do, where something has to be done. */
export interface Finding {
  /** What was looked at, for programs: `secret`, `redis`, … */
  readonly name: string
  readonly grade: 'ok' | 'note' | 'change'
  readonly what: string
  readonly change?: string
}

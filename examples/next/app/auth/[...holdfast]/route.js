import { login } from 'holdfast/next'
import { holdfast } from '../../../lib/holdfast.js'

export const { GET, POST } = login({ holdfast })
